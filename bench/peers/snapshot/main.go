// Command snapshot is the simplest control plane that go-control-plane allows: the baseline of the comparison.
//
// It reads ServiceEntries (STATIC) and the header of VirtualServices' first route from a watched directory,
// and gives every proxy the same clusters, endpoints, one route configuration and one listener.  After
// each change it builds all of them anew and hands them to the library's snapshot cache, which finds out
// what each stream lacks.  It knows no scopes, no rules of Istio and no inbound configuration.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
)

// group is the one key under which the snapshot of all proxies is kept.
const group = "all"

type everyone struct{}

func (everyone) ID(*core.Node) string { return group }

// counters is what /metrics shows.
type counters struct {
	snapshots, streams atomic.Int64
	responses          [responseTypes]atomic.Int64
}

func main() {
	directory := flag.String("config-dir", "", "watched directory of YAML files, one object each")
	address := flag.String("grpc-addr", "127.0.0.1:15010", "host:port or unix:/path for xDS, plaintext")
	monitoring := flag.String("monitoring-addr", "127.0.0.1:15014", "host:port for /ready and /metrics")
	quiet := flag.Duration("debounce-after", 100*time.Millisecond, "quiet time after a change")
	longest := flag.Duration("debounce-max", 10*time.Second, "the longest that a change waits for quiet")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *directory, *address, *monitoring, debounce{*quiet, *longest}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, directory, address, monitoring string, wait debounce) error {
	seen := &counters{}
	snapshots := cache.NewSnapshotCache(true, everyone{}, nil)
	tree, err := watch(directory)
	if err != nil {
		return err
	}
	publish := func() error {
		built, err := tree.mesh.snapshot()
		if err != nil {
			return err
		}
		seen.snapshots.Add(1)
		return snapshots.SetSnapshot(ctx, group, built)
	}
	if err := publish(); err != nil {
		return err
	}

	network, place := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, place = "unix", path
	}
	listener, err := net.Listen(network, place)
	if err != nil {
		return err
	}
	plane := grpc.NewServer(grpc.MaxConcurrentStreams(100_000), grpc.MaxRecvMsgSize(64<<20))
	discovery.RegisterAggregatedDiscoveryServiceServer(plane, server.NewServer(ctx, snapshots, seen.callbacks()))

	failed := make(chan error, 3)
	go func() { failed <- plane.Serve(listener) }()
	go func() { failed <- http.ListenAndServe(monitoring, seen.pages()) }()
	go func() { failed <- tree.follow(ctx, wait, publish) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	plane.Stop()
	return err
}

func (c *counters) callbacks() server.Callbacks {
	return server.CallbackFuncs{
		StreamOpenFunc: func(context.Context, int64, string) error {
			c.streams.Add(1)
			return nil
		},
		StreamClosedFunc: func(int64, *core.Node) { c.streams.Add(-1) },
		DeltaStreamOpenFunc: func(context.Context, int64, string) error {
			c.streams.Add(1)
			return nil
		},
		DeltaStreamClosedFunc: func(int64, *core.Node) { c.streams.Add(-1) },
		StreamResponseFunc: func(_ context.Context, _ int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			c.responses[position(r.GetTypeUrl())].Add(1)
		},
		StreamDeltaResponseFunc: func(_ int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			c.responses[position(r.GetTypeUrl())].Add(1)
		},
	}
}

func (c *counters) pages() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	pages.HandleFunc("/metrics", func(to http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(to, "snapshot_built_total %d\nsnapshot_streams %d\n", c.snapshots.Load(), c.streams.Load())
		for i := range c.responses {
			fmt.Fprintf(to, "snapshot_responses_total{type=%q} %d\n", shortNames[i], c.responses[i].Load())
		}
	})
	return pages
}
