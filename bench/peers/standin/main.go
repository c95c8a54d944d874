// Command standin answers as much of a Kubernetes API as istiod needs to run without a cluster.
//
// Since its release 1.30 istiod does not start without a Kubernetes client, whatever its configuration comes from.
// Here it finds an API that is read-only and, unless a directory is named, empty.  With a directory, the
// objects in its YAML files are what the API lists, and a changed file is an event of the open
// watches a moment later: that is how istiod is meant to be fed, without the waiting time and the
// reading of every file that its file source costs.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	directory := flag.String("config-dir", "", "watched directory of YAML files; none: the API is empty")
	address := flag.String("addr", "127.0.0.1:16443", "host:port, plain HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *directory, *address); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, directory, address string) error {
	objects := newStore()
	failed := make(chan error, 2)
	if directory != "" {
		tree, err := watch(directory, objects)
		if err != nil {
			return err
		}
		go func() { failed <- tree.follow(ctx) }()
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &api{objects}, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	server.Close()
	return err
}
