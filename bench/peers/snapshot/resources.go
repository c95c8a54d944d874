package main

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoints "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	http "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Names of the one listener, where it listens, and of its routes.
const (
	listenerName = "0.0.0.0_15001"
	listenerPort = 15001
	routesName   = "http"
)

// connectTimeout is what clusters are given.
const connectTimeout = 10 * time.Second

// responseTypes is the number of types that are counted, and shortNames what they are called.
const responseTypes = 5

var (
	urls       = [...]string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType}
	shortNames = [responseTypes]string{"cds", "eds", "lds", "rds", "other"}
)

func position(url string) int {
	if at := slices.Index(urls[:], url); at >= 0 {
		return at
	}
	return responseTypes - 1
}

// snapshot builds everything from the services of the mesh.
//
// Each type has a version of its own, a hash of its content: with one version for all, a change of one
// type would be sent as a change of every type.
func (m *mesh) snapshot() (*cache.Snapshot, error) {
	var clusters, loads []types.Resource
	services := m.services()
	for _, one := range services {
		clusters = append(clusters, clusterOf(one))
		loads = append(loads, loadOf(one))
	}
	gate, err := listenerOf()
	if err != nil {
		return nil, err
	}
	built := &cache.Snapshot{}
	for kind, items := range map[types.ResponseType][]types.Resource{
		types.Cluster:  clusters,
		types.Endpoint: loads,
		types.Listener: {gate},
		types.Route:    {routesOf(services)},
	} {
		version, err := hashOf(items)
		if err != nil {
			return nil, err
		}
		built.Resources[kind] = cache.NewResources(version, items)
	}
	return built, nil
}

func hashOf(items []types.Resource) (string, error) {
	hash := sha256.New()
	for _, item := range items {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(item)
		if err != nil {
			return "", err
		}
		hash.Write(body)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

func overADS() *core.ConfigSource {
	return &core.ConfigSource{
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
		ResourceApiVersion:    core.ApiVersion_V3,
	}
}

func clusterOf(one service) *cluster.Cluster {
	return &cluster.Cluster{
		Name:                 one.cluster(),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: overADS()},
		ConnectTimeout:       durationpb.New(connectTimeout),
	}
}

func loadOf(one service) *endpoints.ClusterLoadAssignment {
	var members []*endpoints.LbEndpoint
	for _, member := range one.endpoints {
		members = append(members, &endpoints.LbEndpoint{HostIdentifier: &endpoints.LbEndpoint_Endpoint{
			Endpoint: &endpoints.Endpoint{Address: socket(member.address, member.port)},
		}})
	}
	return &endpoints.ClusterLoadAssignment{
		ClusterName: one.cluster(),
		Endpoints:   []*endpoints.LocalityLbEndpoints{{LbEndpoints: members}},
	}
}

func socket(address string, port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       address,
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

func routesOf(services []service) *route.RouteConfiguration {
	var hosts []*route.VirtualHost
	seen := map[string]bool{}
	for _, one := range services {
		if seen[one.host] {
			// A domain may stand in one virtual host only; the first port of a host has it.
			continue
		}
		seen[one.host] = true
		hosts = append(hosts, &route.VirtualHost{
			Name:    one.host,
			Domains: []string{one.host},
			Routes: []*route.Route{{
				Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
				Action: &route.Route_Route{Route: &route.RouteAction{
					ClusterSpecifier: &route.RouteAction_Cluster{Cluster: one.cluster()},
				}},
				RequestHeadersToAdd: headersOf(one),
			}},
		})
	}
	return &route.RouteConfiguration{Name: routesName, VirtualHosts: hosts}
}

func headersOf(one service) []*core.HeaderValueOption {
	var options []*core.HeaderValueOption
	for key, value := range one.headers {
		options = append(options, &core.HeaderValueOption{
			Header:       &core.HeaderValue{Key: key, Value: value},
			AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	slices.SortFunc(options, func(a, b *core.HeaderValueOption) int {
		return slices.Compare([]byte(a.Header.Key), []byte(b.Header.Key))
	})
	return options
}

func listenerOf() (*listener.Listener, error) {
	last, err := anypb.New(&router.Router{})
	if err != nil {
		return nil, err
	}
	manager, err := anypb.New(&http.HttpConnectionManager{
		StatPrefix: routesName,
		RouteSpecifier: &http.HttpConnectionManager_Rds{
			Rds: &http.Rds{ConfigSource: overADS(), RouteConfigName: routesName},
		},
		HttpFilters: []*http.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &http.HttpFilter_TypedConfig{TypedConfig: last},
		}},
	})
	if err != nil {
		return nil, err
	}
	return &listener.Listener{
		Name:    listenerName,
		Address: socket("0.0.0.0", listenerPort),
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listener.Filter_TypedConfig{TypedConfig: manager},
		}}}},
	}, nil
}
