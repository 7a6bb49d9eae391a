package jetstream

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// consumerStates are the files in which the embedded server keeps how far its
// consumers have come, below its directory.
const consumerStates = "*/streams/*/obs/*/o.dat"

// dropUnwritten removes the consumers' state files that a power cut has left full
// of zeros; without one, the server makes the consumer start over.
//
// The server replaces such a file ten times a second, by renaming a new one that
// it doesn't flush (nats-server v2.15.2, server/filestore.go writeAtomically).
// Outside SyncAlways the disk may get the new name and size and not yet the
// content, and the server then refuses the consumer, for ever: "corrupt state
// file". No valid state is all zeros, its first byte being a mark.
func (b *Broker) dropUnwritten() error {
	dir := b.server.storeDir()
	names, err := fs.Glob(os.DirFS(dir), consumerStates)
	if err != nil {
		return fmt.Errorf("look for consumers' state files: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		state, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("look at a consumer's state: %w", err)
		}
		if len(bytes.Trim(state, "\x00")) > 0 {
			continue
		}
		b.log.Warn("a consumer's state did not reach the disk before the power failed, it starts over", "file", path)
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove a consumer's unwritten state: %w", err)
		}
	}
	return nil
}

// skipVerified lets processors that start over begin behind what is verified, so
// that history isn't delivered again. Delivery counts are lost with the state.
func (b *Broker) skipVerified(ctx context.Context) error {
	t, verified := b.topo.Load(), b.verified.Load()
	if b.server == nil || verified == 0 || t.processors.CachedInfo().Delivered.Consumer > 0 {
		return nil
	}
	if _, err := t.events.ResetConsumerToSequence(ctx, processors, verified+1); err != nil {
		return fmt.Errorf("start consumer %s behind what is verified: %w", processors, err)
	}
	return nil
}
