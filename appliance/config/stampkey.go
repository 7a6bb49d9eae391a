package config

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/jetstream/durable"
)

// Files that the first start makes in the data directory, readable by their owner
// only.
const (
	StampKeyFile   = "stamp.key"
	DemoSecretFile = "demo.secret"
	DemoCourier    = "demo"
)

// MakeDataDir makes the data directory, readable by its owner only. One that is there must
// not be somebody else's: its keys would be theirs.
func (c Config) MakeDataDir() error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory (data_dir): %w", err)
	}
	if err := durable.OwnedDir(c.DataDir); err != nil {
		return fmt.Errorf("the data directory (data_dir) is not safe to use: %w", err)
	}
	return nil
}

// Stamper returns the stamper of the configured keys, or of the data directory's
// own key.
func (c Config) Stamper() (*stamp.Stamper, error) {
	if len(c.JetStream.StampKeys) > 0 {
		var f faults
		keys := resolveAll(&f, "jetstream.stamp_keys", c.JetStream.StampKeys)
		if err := f.err(); err != nil {
			return nil, err
		}
		return stamp.New(keys...)
	}
	key, err := randomFile(filepath.Join(c.DataDir, StampKeyFile))
	if err != nil {
		return nil, fmt.Errorf("the key that signs queued events: %w", err)
	}
	return stamp.New(key)
}

// MissingStampKey returns the file that [Config.Stamper] will make, and whether it
// would.
func (c Config) MissingStampKey() (path string, missing bool) {
	path = filepath.Join(c.DataDir, StampKeyFile)
	_, err := os.Lstat(path)
	return path, len(c.JetStream.StampKeys) == 0 && errors.Is(err, fs.ErrNotExist)
}

// randomFile returns the content of the file at path; when there is none it is
// made first, with 64 random hex digits. The file is whole or absent, never half,
// and on disk before this returns.
func randomFile(path string) ([]byte, error) {
	if err := durable.Owned(path); err != nil {
		return nil, err
	}
	value, err := Secret("file:" + path).Resolve()
	if !errors.Is(err, fs.ErrNotExist) {
		return value, err
	}
	var raw [32]byte
	rand.Read(raw[:]) // never fails, see crypto/rand
	value = hex.AppendEncode(nil, raw[:])
	if err := writeNew(path, append(value, '\n')); err != nil {
		return nil, err
	}
	return value, nil
}

// writeNew makes the file at path by way of a temporary one beside it, which no other
// process can have open, and which does not stay when it fails: there is a secret in it.
// The queue has a writer of its own for files that are replaced (jetstream/durable).
func writeNew(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // of a file that was not renamed
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// secretNamer names a courier's secrets, so that an event says which of them verified
// it: by an HMAC under the stamp key. Names are in logs, lists and rows, whose readers
// must not be able to try a dictionary of secrets on them. They are the same
// after a restart and in every service of one stamp key, and others when that changes.
// Without a key the name is the place in the configuration.
type secretNamer []byte

// namer returns what names the secrets. It makes no stamp key where there is none yet:
// only commands that run no appliance meet that.
func (c Config) namer() secretNamer {
	from := Secret("file:" + filepath.Join(c.DataDir, StampKeyFile))
	if len(c.JetStream.StampKeys) > 0 {
		from = c.JetStream.StampKeys[0]
	}
	key, err := from.Resolve()
	if err != nil {
		return nil
	}
	return key
}

// id names the secret that stands at i.
func (key secretNamer) id(i int, secret []byte) string {
	if key == nil {
		return fmt.Sprintf("secrets.%d", i)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("courier-gateway key id\n"))
	mac.Write(secret)
	return hex.EncodeToString(mac.Sum(nil)[:4])
}
