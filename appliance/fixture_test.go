package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
)

// configFile writes a configuration file and returns its path.
func configFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "appliance.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loaded reads a configuration and fails the test when that can't be done at all.
func loaded(t testing.TB, content string) config.Loaded {
	t.Helper()
	l, err := config.Load(configFile(t, content), nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
