//go:build unix

package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// planted makes what somebody else could have put at a path, by what an error says of it.
// Each returns false where this user can't make it.
var planted = map[string]func(path string) bool{
	"symbolic link": func(path string) bool { return os.Symlink("/etc/hostname", path) == nil },
	"(mode 0660)": func(path string) bool {
		return write(path) && os.Chmod(path, 0o660) == nil && (os.Geteuid() == 0 || os.Chown(path, -1, 0) == nil)
	},
	"(mode 0602)":             func(path string) bool { return write(path) && os.Chmod(path, 0o602) == nil },
	"another user (uid 1234)": func(path string) bool { return write(path) && os.Chown(path, 1234, -1) == nil },
	"a directory":             func(path string) bool { return os.Mkdir(path, 0o700) == nil },
}

func write(path string) bool { return os.WriteFile(path, []byte("x"), 0o600) == nil }

func TestPlantedFilesAreRefused(t *testing.T) {
	t.Parallel()
	for want, plant := range planted {
		path := filepath.Join(t.TempDir(), "lock")
		if !plant(path) {
			if os.Geteuid() == 0 {
				t.Errorf("%s can't be made", want)
			}
			continue
		}
		if err := Owned(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", want, err)
		}
		before, _ := os.ReadFile(path)
		if unlock, err := Lock(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s as the lock: %v", want, err)
			if err == nil {
				_ = unlock()
			}
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%s: it was written to", want)
		}
	}
	dir := t.TempDir()
	if err := Owned(filepath.Join(dir, "none")); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if mine := filepath.Join(dir, "mine"); !write(mine) || Owned(mine) != nil {
		t.Errorf("a file of this user: %v", Owned(mine))
	}
}

func TestPlantedDirectoriesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine, link, foreign := filepath.Join(dir, "mine"), filepath.Join(dir, "link"), filepath.Join(dir, "foreign")
	for _, err := range []error{os.Mkdir(mine, 0o700), os.Mkdir(foreign, 0o700), os.Symlink(mine, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{mine, link, filepath.Join(dir, "none")} {
		if err := OwnedDir(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if os.Geteuid() == 0 {
		_ = os.Lchown(link, 1234, -1)
		if err := OwnedDir(link); err == nil || !strings.Contains(err.Error(), "symbolic link of another user") {
			t.Errorf("a foreign link: %v", err)
		}
		_ = os.Chown(foreign, 1234, -1)
		if err := OwnedDir(foreign); err == nil || !strings.Contains(err.Error(), "uid 1234") {
			t.Errorf("a foreign directory: %v", err)
		}
	}
	for _, mode := range []os.FileMode{0o770, 0o702, os.ModeSticky | 0o777} {
		if err := os.Chmod(mine, mode); err != nil {
			t.Fatal(err)
		}
		if err := OwnedDir(mine); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}
