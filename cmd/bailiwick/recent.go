package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// Completion must not wait for a server, so the commands keep what they showed lately, newest first: one file for each kind and context.

// maxRecent bounds what is kept of one kind.
const maxRecent = 50

func (a *app) recentFile(kind string) (string, error) {
	home, err := login.Home()
	if err != nil {
		return "", err
	}
	where, err := a.where()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, kind, where.Name+".json"), nil
}

// remember keeps what was seen, in the place of what is the same. That it can't is nobody's concern.
func remember[T any](a *app, kind string, seen []T, same func(x, y T) bool) {
	path, err := a.recentFile(kind)
	if err != nil {
		return
	}
	all := slices.Clone(seen)
	for _, old := range recent[T](a, kind) {
		if !slices.ContainsFunc(all, func(x T) bool { return same(x, old) }) {
			all = append(all, old)
		}
	}
	raw, err := json.Marshal(all[:min(len(all), maxRecent)])
	if err == nil && os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = durable.WriteFile(path, raw, 0o600)
	}
}

func recent[T any](a *app, kind string) (out []T) {
	path, err := a.recentFile(kind)
	if err != nil {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}
