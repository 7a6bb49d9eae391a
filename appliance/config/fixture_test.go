package config

import (
	"os"
	"path/filepath"
	"testing"
)

// configFile keeps a configuration in a file and returns its path.
func configFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "appliance.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loaded reads a configuration and fails the test when that can't be done at all.
func loaded(t testing.TB, content string) Loaded {
	t.Helper()
	l, err := Load(configFile(t, content), nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
