package main

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// debounce is how long a change waits for company.
type debounce struct{ quiet, longest time.Duration }

// tree is a watched directory and the mesh that its files describe.
type tree struct {
	mesh    *mesh
	watcher *fsnotify.Watcher
}

// watch reads what is in the directory; events since then wait in the watcher.
func watch(directory string) (*tree, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := watcher.Add(directory); err != nil {
		return nil, err
	}
	found := &tree{newMesh(), watcher}
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

// read takes in one file; a file that is gone takes its objects with it.
func (t *tree) read(path string) error {
	if suffix := filepath.Ext(path); suffix != ".yaml" && suffix != ".yml" {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.mesh.forget(path)
		return nil
	}
	if err != nil {
		return err
	}
	return t.mesh.take(path, text)
}

// follow publishes after changes, when they have been quiet for long enough.
func (t *tree) follow(ctx context.Context, wait debounce, publish func() error) error {
	var first time.Time
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-t.watcher.Events:
			if err := t.read(event.Name); err != nil {
				log.Printf("%s: not taken up: %v", event.Name, err)
				continue
			}
			if due == nil {
				first = time.Now()
			}
			due = time.After(min(wait.quiet, time.Until(first.Add(wait.longest))))
		case err := <-t.watcher.Errors:
			// Events were lost: nothing that is measured afterwards would be true.
			return err
		case <-due:
			due = nil
			if err := publish(); err != nil {
				log.Printf("not published: %v", err)
			}
		}
	}
}
