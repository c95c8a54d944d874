module mini-istiod/bench/peers/standin

go 1.26.0

require (
	github.com/fsnotify/fsnotify v1.10.1
	sigs.k8s.io/yaml v1.6.0
)

require (
	go.yaml.in/yaml/v2 v2.4.2 // indirect
	golang.org/x/sys v0.13.0 // indirect
)
