package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

type api struct{ objects *store }

// place is what a path asks for: /api/v1/[namespaces/N/]PLURAL or /apis/GROUP/VERSION/[namespaces/N/]PLURAL.
type place struct {
	resource
	version   string // as in an apiVersion
	namespace string
}

func placeOf(path string) (place, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var found place
	switch {
	case len(parts) > 2 && parts[0] == "api":
		found.version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		found.group, found.version, parts = parts[1], parts[1]+"/"+parts[2], parts[3:]
	default:
		return found, false
	}
	if len(parts) == 3 && parts[0] == "namespaces" {
		found.namespace, parts = parts[1], parts[2:]
	}
	if len(parts) != 1 {
		return found, false
	}
	found.plural = parts[0]
	return found, true
}

func (a *api) ServeHTTP(to http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	where, known := placeOf(request.URL.Path)
	switch {
	case request.URL.Path == "/readyz":
	case request.URL.Path == "/version":
		answer(to, http.StatusOK, map[string]string{"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
	case request.Method != http.MethodGet:
		refuse(to, http.StatusForbidden, "Forbidden")
	case !known || kinds[where.plural] == "":
		refuse(to, http.StatusNotFound, "NotFound")
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		a.watch(to, request, a.dress(where, request))
	default:
		a.list(to, a.dress(where, request))
	}
}

// dressed is a place, and the API version and kind in which its objects are shown.
type dressed struct {
	place
	shown, kind string
}

// dress: who asks for metadata only sees every object in the same clothes.
func (a *api) dress(where place, request *http.Request) dressed {
	if strings.Contains(request.Header.Get("Accept"), "as=PartialObjectMetadata") {
		return dressed{where, "meta.k8s.io/v1", "PartialObjectMetadata"}
	}
	return dressed{where, where.version, kinds[where.plural]}
}

// shown is the objects of a place as the client asked for them.
func (a *api) shown(where dressed, objects []*object) []json.RawMessage {
	texts := []json.RawMessage{}
	if where.plural == plurals["CustomResourceDefinition"] {
		for _, name := range definitions() {
			texts = append(texts, definition(where, name))
		}
	}
	for _, one := range objects {
		texts = append(texts, one.render(where.shown))
	}
	return texts
}

func definition(where dressed, name string) json.RawMessage {
	text, err := json.Marshal(map[string]any{
		"kind": where.kind, "apiVersion": where.shown,
		"metadata": map[string]any{"name": name, "uid": name, "resourceVersion": "1"},
	})
	if err != nil {
		panic(err)
	}
	return text
}

func (a *api) list(to http.ResponseWriter, where dressed) {
	objects, revision := a.objects.list(where.resource, where.namespace)
	answer(to, http.StatusOK, map[string]any{
		"kind": where.kind + "List", "apiVersion": where.shown,
		"metadata": map[string]string{"resourceVersion": strconv.FormatInt(revision, 10)},
		"items":    a.shown(where, objects),
	})
}

// watch streams events.  A client that lists by watching is first given what there is, and a bookmark.
func (a *api) watch(to http.ResponseWriter, request *http.Request, where dressed) {
	objects, revision, events := a.objects.open(where.resource, where.namespace)
	defer a.objects.end(where.resource, events)
	stream := http.NewResponseController(to)
	to.Header().Set("Content-Type", "application/json")
	lines := json.NewEncoder(to)
	send := func(what string, body any) bool {
		return lines.Encode(map[string]any{"type": what, "object": body}) == nil
	}
	if request.URL.Query().Get("sendInitialEvents") == "true" {
		for _, text := range a.shown(where, objects) {
			send("ADDED", text)
		}
		send("BOOKMARK", map[string]any{
			"kind": where.kind, "apiVersion": where.shown,
			"metadata": map[string]any{
				"resourceVersion": strconv.FormatInt(revision, 10),
				"annotations":     map[string]string{"k8s.io/initial-events-end": "true"},
			},
		})
	} else if since, err := strconv.ParseInt(request.URL.Query().Get("resourceVersion"), 10, 64); err == nil {
		a.since(where, objects, since, send)
	}
	if stream.Flush() != nil {
		return
	}
	for {
		select {
		case <-request.Context().Done():
			return
		case news, open := <-events:
			if !open {
				return
			}
			if where.namespace != "" && news.one.namespace != where.namespace {
				continue
			}
			if !send(news.what, news.one.render(where.shown)) || (len(events) == 0 && stream.Flush() != nil) {
				return
			}
		}
	}
}

// since makes up for what was written between a list and the watch that follows it.
func (a *api) since(where dressed, objects []*object, revision int64, send func(string, any) bool) {
	for _, one := range objects {
		if one.revision > revision {
			send("MODIFIED", one.render(where.shown))
		}
	}
}

func answer(to http.ResponseWriter, status int, body any) {
	to.Header().Set("Content-Type", "application/json")
	to.WriteHeader(status)
	// The client has gone when this fails.
	_ = json.NewEncoder(to).Encode(body)
}

func refuse(to http.ResponseWriter, status int, reason string) {
	answer(to, status, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status,
		"message": "a read-only stand-in for a Kubernetes API",
	})
}
