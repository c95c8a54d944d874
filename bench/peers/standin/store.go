package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// resource is what the URL of a list names: "" and "services", or "networking.istio.io" and "sidecars".
type resource struct{ group, plural string }

// object is one object's JSON without apiVersion and resourceVersion, which depend on who asks and when.
type object struct {
	kind, namespace, name string
	body                  map[string]any
	revision              int64
}

func (o *object) key() string { return o.namespace + "/" + o.name }

func (o *object) resource() resource {
	group, _, found := strings.Cut(o.version(), "/")
	if !found {
		group = ""
	}
	return resource{group, plurals[o.kind]}
}

func (o *object) version() string {
	version, _ := o.body["apiVersion"].(string)
	return version
}

// render is the object as a client of this version of its group sees it.
func (o *object) render(version string) json.RawMessage {
	seen := map[string]any{}
	for key, value := range o.body {
		seen[key] = value
	}
	seen["apiVersion"] = version
	metadata := map[string]any{}
	if given, found := o.body["metadata"].(map[string]any); found {
		for key, value := range given {
			metadata[key] = value
		}
	}
	metadata["resourceVersion"] = strconv.FormatInt(o.revision, 10)
	metadata["uid"] = fmt.Sprintf("%s/%s", o.kind, o.key())
	metadata["creationTimestamp"] = "2024-01-01T00:00:00Z"
	// istiod passes over objects whose generation it has seen.
	metadata["generation"] = o.revision
	seen["metadata"] = metadata
	text, err := json.Marshal(seen)
	if err != nil {
		panic(err) // It came from JSON.
	}
	return text
}

// event is what watches are told.
type event struct {
	what string // ADDED, MODIFIED, DELETED
	one  *object
}

// store is every object, and who watches them.
type store struct {
	sync.Mutex
	revision int64
	objects  map[resource]map[string]*object
	watches  map[resource]map[chan event]bool
}

// backlog is how many events a watch may be behind; one that is further behind is closed, and lists again.
const backlog = 10_000

func newStore() *store {
	return &store{
		revision: 1,
		objects:  map[resource]map[string]*object{},
		watches:  map[resource]map[chan event]bool{},
	}
}

func (s *store) put(one *object) {
	s.Lock()
	defer s.Unlock()
	kept := s.objects[one.resource()]
	if kept == nil {
		kept = map[string]*object{}
		s.objects[one.resource()] = kept
	}
	what := "ADDED"
	if kept[one.key()] != nil {
		what = "MODIFIED"
	}
	s.revision++
	one.revision = s.revision
	kept[one.key()] = one
	s.tell(event{what, one})
}

func (s *store) remove(one *object) {
	s.Lock()
	defer s.Unlock()
	kept := s.objects[one.resource()]
	if kept[one.key()] == nil {
		return
	}
	delete(kept, one.key())
	s.revision++
	gone := *one
	gone.revision = s.revision
	s.tell(event{"DELETED", &gone})
}

func (s *store) tell(news event) {
	for watch := range s.watches[news.one.resource()] {
		select {
		case watch <- news:
		default:
			s.close(news.one.resource(), watch)
		}
	}
}

// list is the objects of a resource, in one namespace unless that is "", and the revision they are of.
func (s *store) list(of resource, namespace string) ([]*object, int64) {
	s.Lock()
	defer s.Unlock()
	return s.sorted(of, namespace), s.revision
}

// open begins a watch: what there is now, and what follows.
func (s *store) open(of resource, namespace string) ([]*object, int64, chan event) {
	s.Lock()
	defer s.Unlock()
	if s.watches[of] == nil {
		s.watches[of] = map[chan event]bool{}
	}
	watch := make(chan event, backlog)
	s.watches[of][watch] = true
	return s.sorted(of, namespace), s.revision, watch
}

func (s *store) end(of resource, watch chan event) {
	s.Lock()
	defer s.Unlock()
	s.close(of, watch)
}

func (s *store) close(of resource, watch chan event) {
	if s.watches[of][watch] {
		delete(s.watches[of], watch)
		close(watch)
	}
}

func (s *store) sorted(of resource, namespace string) []*object {
	var found []*object
	for _, one := range s.objects[of] {
		if namespace == "" || one.namespace == namespace {
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b *object) int { return strings.Compare(a.key(), b.key()) })
	return found
}
