package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSecretsAreNamedUnderTheStampKey: the id of a secret stays the same as long as the
// stamp key does, and without that key it does not show which secret it is of.
func TestSecretsAreNamedUnderTheStampKey(t *testing.T) {
	t.Parallel()
	secret := []byte("correct horse")
	named := func(dir string, stamps ...Secret) string {
		c := Defaults()
		c.DataDir, c.JetStream.StampKeys = dir, stamps
		return c.namer().id(1, secret)
	}
	started := func() (dir string) {
		dir = t.TempDir()
		c := Defaults()
		c.DataDir = dir
		if _, err := c.Stamper(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	one, other, fresh := started(), started(), t.TempDir()
	id := named(one)
	if again := named(one); again != id || len(id) != 8 {
		t.Errorf("the secret is %q, and then %q", id, again)
	}
	if named(other) == id {
		t.Errorf("under another stamp key the secret is %q too", id)
	}
	key := Secret("file:" + filepath.Join(one, StampKeyFile))
	if shared := named(fresh, key, Secret("file:"+filepath.Join(other, StampKeyFile))); shared != id {
		t.Errorf("a service that shares the stamp key names the secret %q, not %q", shared, id)
	}
	if got := named(fresh); got != "secrets.1" {
		t.Errorf("without a stamp key the secret is %q", got)
	}
	if _, err := os.Stat(filepath.Join(fresh, StampKeyFile)); err == nil {
		t.Error("naming a secret has made a stamp key")
	}
}
