package main

import "slices"

// plurals is every kind that the API knows, and its name in URLs.
var plurals = map[string]string{
	"ConfigMap":                      "configmaps",
	"CustomResourceDefinition":       "customresourcedefinitions",
	"EndpointSlice":                  "endpointslices",
	"Ingress":                        "ingresses",
	"IngressClass":                   "ingressclasses",
	"MutatingWebhookConfiguration":   "mutatingwebhookconfigurations",
	"Namespace":                      "namespaces",
	"Node":                           "nodes",
	"Pod":                            "pods",
	"Secret":                         "secrets",
	"Service":                        "services",
	"ServiceAccount":                 "serviceaccounts",
	"ValidatingWebhookConfiguration": "validatingwebhookconfigurations",

	"DestinationRule": "destinationrules",
	"EnvoyFilter":     "envoyfilters",
	"Gateway":         "gateways",
	"ProxyConfig":     "proxyconfigs",
	"ServiceEntry":    "serviceentries",
	"Sidecar":         "sidecars",
	"VirtualService":  "virtualservices",
	"WorkloadEntry":   "workloadentries",
	"WorkloadGroup":   "workloadgroups",

	"AuthorizationPolicy":   "authorizationpolicies",
	"PeerAuthentication":    "peerauthentications",
	"RequestAuthentication": "requestauthentications",
	"Telemetry":             "telemetries",
}

// kinds is plurals the other way round.
var kinds = func() map[string]string {
	found := map[string]string{}
	for kind, plural := range plurals {
		found[plural] = kind
	}
	return found
}()

// custom is the kinds that have a definition, by group; istiod watches none whose definition it does not see.
var custom = map[string][]string{
	"networking.istio.io": {
		"DestinationRule", "EnvoyFilter", "Gateway", "ProxyConfig", "ServiceEntry", "Sidecar",
		"VirtualService", "WorkloadEntry", "WorkloadGroup",
	},
	"security.istio.io":  {"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"},
	"telemetry.istio.io": {"Telemetry"},
}

// definitions is the names of all CustomResourceDefinitions.
func definitions() []string {
	var names []string
	for group, members := range custom {
		for _, kind := range members {
			names = append(names, plurals[kind]+"."+group)
		}
	}
	slices.Sort(names)
	return names
}
