package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"
)

// object is as much of a configuration object as this server reads.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Hosts      []string `json:"hosts"`
		Addresses  []string `json:"addresses"`
		Resolution string   `json:"resolution"`
		Ports      []struct {
			Number     uint32 `json:"number"`
			TargetPort uint32 `json:"targetPort"`
		} `json:"ports"`
		Endpoints []struct {
			Address string `json:"address"`
		} `json:"endpoints"`
		HTTP []struct {
			Headers struct {
				Request struct {
					Set map[string]string `json:"set"`
				} `json:"request"`
			} `json:"headers"`
		} `json:"http"`
	} `json:"spec"`
}

// service is one host on one port.
type service struct {
	host      string
	port      uint32
	endpoints []endpoint
	headers   map[string]string
}

type endpoint struct {
	address string
	port    uint32
}

func (s service) cluster() string { return fmt.Sprintf("outbound|%d||%s", s.port, s.host) }

// mesh is what the files say, by path.
type mesh struct{ files map[string][]object }

func newMesh() *mesh { return &mesh{map[string][]object{}} }

func (m *mesh) forget(path string) { delete(m.files, path) }

func (m *mesh) take(path string, text []byte) error {
	var objects []object
	for _, document := range bytes.Split(text, []byte("\n---")) {
		var one object
		if err := yaml.Unmarshal(document, &one); err != nil {
			return err
		}
		if one.Kind != "" {
			objects = append(objects, one)
		}
	}
	m.files[path] = objects
	return nil
}

// services is every host and port in a fixed order; of entries with one host the first by name counts.
func (m *mesh) services() []service {
	headers := map[string]map[string]string{}
	var entries []object
	for _, objects := range m.files {
		for _, one := range objects {
			switch one.Kind {
			case "ServiceEntry":
				entries = append(entries, one)
			case "VirtualService":
				for _, host := range one.Spec.Hosts {
					if len(one.Spec.HTTP) > 0 {
						headers[host] = one.Spec.HTTP[0].Headers.Request.Set
					}
				}
			}
		}
	}
	slices.SortFunc(entries, func(a, b object) int {
		return cmp.Or(cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	var found []service
	seen := map[string]bool{}
	for _, entry := range entries {
		for _, one := range entry.services() {
			if name := one.cluster(); !seen[name] {
				seen[name] = true
				one.headers = headers[one.host]
				found = append(found, one)
			}
		}
	}
	return found
}

func (o object) services() []service {
	if o.Spec.Resolution != "STATIC" {
		return nil
	}
	var found []service
	for _, host := range o.Spec.Hosts {
		for _, port := range o.Spec.Ports {
			one := service{host: host, port: port.Number}
			for _, workload := range o.Spec.Endpoints {
				one.endpoints = append(one.endpoints, endpoint{workload.Address, cmp.Or(port.TargetPort, port.Number)})
			}
			found = append(found, one)
		}
	}
	return found
}
