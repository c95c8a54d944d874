package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"sigs.k8s.io/yaml"
)

// tree is a watched directory: which file holds which objects.
type tree struct {
	objects *store
	files   map[string][]*object
	watcher *fsnotify.Watcher
}

func watch(directory string, objects *store) (*tree, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := watcher.Add(directory); err != nil {
		return nil, err
	}
	found := &tree{objects, map[string][]*object{}, watcher}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if err := found.read(filepath.Join(directory, entry.Name())); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (t *tree) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-t.watcher.Events:
			if err := t.read(event.Name); err != nil {
				log.Printf("%s: not taken up: %v", event.Name, err)
			}
		case err := <-t.watcher.Errors:
			// Events were lost: nothing that is measured afterwards would be true.
			return err
		}
	}
}

// read takes up one file; what was in it and is not any more is removed.
func (t *tree) read(path string) error {
	if suffix := filepath.Ext(path); suffix != ".yaml" && suffix != ".yml" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var found []*object
	kept := map[resource]map[string]bool{}
	for _, document := range bytes.Split(text, []byte("\n---")) {
		one, err := parse(document)
		if err != nil {
			return err
		}
		if one == nil {
			continue
		}
		found = append(found, one)
		if kept[one.resource()] == nil {
			kept[one.resource()] = map[string]bool{}
		}
		kept[one.resource()][one.key()] = true
	}
	for _, one := range t.files[path] {
		if !kept[one.resource()][one.key()] {
			t.objects.remove(one)
		}
	}
	for _, one := range found {
		t.objects.put(one)
	}
	t.files[path] = found
	return nil
}

func parse(document []byte) (*object, error) {
	body := map[string]any{}
	if err := yaml.Unmarshal(document, &body); err != nil {
		return nil, err
	}
	kind, _ := body["kind"].(string)
	if kind == "" {
		return nil, nil
	}
	metadata, _ := body["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if name == "" || plurals[kind] == "" {
		return nil, fmt.Errorf("%s %q: no name, or a kind that this API does not serve", kind, name)
	}
	return &object{kind: kind, namespace: namespace, name: name, body: body}, nil
}
