package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// What the embedded server keeps below its directory, and what damage to it costs:
//
//	*/streams/<stream>/meta.inf, meta.sum      definition and its checksum
//	*/streams/<stream>/msgs/                   messages
//	*/streams/<stream>/obs/<consumer>/meta.inf, meta.sum   definition and its checksum
//	*/streams/<stream>/obs/<consumer>/o.dat    position, deliveries without a verdict, attempts
//
// A consumer's definition follows from the configuration. Without its state it starts
// over behind what is verified: deliveries come again, which changes nothing, and the
// ledger still has the attempts. PROGRESS holds one number that the ledger proves
// again, and what ADVISORIES held the reconciler finds. So all of these are set aside
// when they are damaged, and made again. EVENTS is not: its events are in no other
// place, so that the start refuses, unless the stream has none.
const (
	streamDirs    = "*/streams/*"
	consumerDirs  = "obs/*"
	stateFile     = "o.dat"
	asideDir      = "damaged" // below Config.StoreDir: what was set aside last
	messageBlocks = "msgs/*.blk"
)

// inspectStore sets aside what of a stopped server's files is damaged and can be made
// again. Without it the server would refuse the file's stream, or with an unknown
// member in a consumer's definition all of the stream that it belongs to.
func (s *Server) inspectStore() error {
	root := s.Dir()
	dirs, err := fs.Glob(os.DirFS(root), streamDirs)
	if err != nil {
		return fmt.Errorf("find streams in %s: %w", root, err)
	}
	s.undefined = nil
	for _, dir := range dirs {
		if err := s.inspectStream(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) inspectStream(dir string) error {
	stream := filepath.Base(dir)
	if strings.HasPrefix(stream, ".") {
		return nil // being deleted
	}
	switch err := CheckDefinition(dir, stream); {
	case errors.Is(err, errNoDefinition):
		s.cfg.Logger.Warn("a stream has no definition, it is made again from the configuration and keeps its messages", "stream", stream, "dir", dir)
		s.undefined = append(s.undefined, stream)
	case !errors.Is(err, errDamaged):
		if err != nil {
			return err
		}
	case slices.Contains(s.cfg.Derived, stream):
		return s.setAside(dir, err, stream)
	default:
		if empty, blockErr := hasNoBlock(dir); blockErr != nil || !empty {
			return errors.Join(notRecoverable(dir, stream, err), blockErr)
		}
		return s.setAside(dir, err, stream)
	}
	consumers, err := fs.Glob(os.DirFS(dir), consumerDirs)
	if err != nil {
		return fmt.Errorf("find consumers in %s: %w", dir, err)
	}
	for _, name := range consumers {
		if err := s.inspectConsumer(filepath.Join(dir, name), stream); err != nil {
			return err
		}
	}
	return nil
}

// notRecoverable says what to do about a stream that holds what is in no other place.
func notRecoverable(dir, stream string, cause error) error {
	return fmt.Errorf("stream '%s > %s' could not be recovered: %w; its messages in %s are untouched. "+
		"Put %s and %s back from a backup, or move both away: then the stream is made again from the configuration and keeps its messages",
		filepath.Base(filepath.Dir(filepath.Dir(dir))), stream, cause, filepath.Join(dir, "msgs"),
		filepath.Join(dir, server.JetStreamMetaFile), server.JetStreamMetaFileSum)
}

// hasNoBlock reports whether a stream's directory holds no message.
func hasNoBlock(dir string) (bool, error) {
	blocks, err := filepath.Glob(filepath.Join(dir, messageBlocks))
	for _, block := range blocks {
		info, statErr := os.Stat(block)
		if err = errors.Join(err, statErr); statErr == nil && info.Size() > 0 {
			return false, err
		}
	}
	return err == nil, err
}

func (s *Server) inspectConsumer(dir, stream string) error {
	consumer := filepath.Base(dir)
	if err := CheckDefinition(dir, stream+"/"+consumer); errors.Is(err, errDamaged) {
		for _, name := range []string{server.JetStreamMetaFile, server.JetStreamMetaFileSum} {
			if err := s.setAside(filepath.Join(dir, name), err, stream, consumer, name); err != nil {
				return err
			}
		}
	} else if err != nil && !errors.Is(err, errNoDefinition) {
		return err
	}
	path := filepath.Join(dir, stateFile)
	if err := removeEmptyState(path); err != nil {
		return err
	}
	state, written, ok, err := ReadConsumerState(path)
	if errors.Is(err, errState) {
		return s.setAside(path, err, stream, consumer, stateFile)
	}
	if err != nil {
		return fmt.Errorf("read a consumer's state: %w", err)
	}
	if ok {
		s.left[stream+"/"+consumer] = Left{state, written}
	}
	return nil
}

// removeEmptyState removes a consumer's state file that a power cut has left full of
// zeros.
//
// The server replaces such a file ten times a second, by renaming a new one that
// it doesn't flush (nats-server v2.15.2, server/filestore.go writeAtomically).
// Outside SyncAlways the disk may get the new name and size and not yet the
// content. No valid state is all zeros, because it begins with the magic.
func removeEmptyState(path string) error {
	state, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read a consumer's state: %w", err)
	}
	if len(bytes.Trim(state, "\x00")) > 0 {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove a consumer's state that was never written: %w", err)
	}
	return nil
}

var (
	errDamaged      = errors.New("is damaged")
	errNoDefinition = errors.New("there is no definition")
)

// CheckDefinition compares the definition in dir with its checksum, which is keyed by
// the name of what it defines: a stream, or "<stream>/<consumer>". The server itself
// checks streams' only.
func CheckDefinition(dir, name string) error {
	path := filepath.Join(dir, server.JetStreamMetaFile)
	content, err := os.ReadFile(path)
	sum, sumErr := os.ReadFile(filepath.Join(dir, server.JetStreamMetaFileSum))
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.Is(sumErr, fs.ErrNotExist):
		return errNoDefinition
	case errors.Is(err, fs.ErrNotExist) || errors.Is(sumErr, fs.ErrNotExist):
		return fmt.Errorf("its definition %s %w: one of the two files is missing", path, errDamaged)
	case err != nil || sumErr != nil:
		return fmt.Errorf("read a definition: %w", errors.Join(err, sumErr))
	}
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return fmt.Errorf("check a definition: %w", err)
	}
	_, _ = hash.Write(content)
	if hex.EncodeToString(hash.Sum(nil)) != string(sum) {
		return fmt.Errorf("its definition %s %w: its checksum is another one", path, errDamaged)
	}
	return nil
}

// setAside moves a damaged file or directory out of the server's way, for an operator to
// examine; what was set aside under the same name before is removed.
func (s *Server) setAside(path string, why error, names ...string) error {
	kept := filepath.Join(s.cfg.StoreDir, asideDir, strings.Join(names, "-"))
	err := errors.Join(os.MkdirAll(filepath.Dir(kept), 0o700), os.RemoveAll(kept))
	if err == nil {
		err = os.Rename(path, kept)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the one of two that was missing
	}
	if err != nil {
		return fmt.Errorf("set aside %s, which is damaged and can be made again: %w", path, err)
	}
	s.cfg.Logger.Warn("damaged, set aside and made again; no event is lost by it", "file", path, "problem", why, "kept_as", kept)
	return nil
}

// Left is a consumer's state as the server before this one left it.
type Left struct {
	ConsumerState
	Written time.Time // when the state was written
}
