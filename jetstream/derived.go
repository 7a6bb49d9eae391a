package jetstream

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// startServer starts the stopped embedded server on what of the store can be used. A
// derived stream that the server can't open is set aside; it is made again with the
// topology.
func (b *Broker) startServer() error {
	b.left = map[string]leftBehind{}
	if err := b.inspectStore(); err != nil {
		return fmt.Errorf("embedded broker on %s can't be used: %w", b.cfg.StoreDir, err)
	}
	err := b.server.start()
	f, unusable := errors.AsType[fault](err)
	if !unusable || !f.only(derived) {
		return err
	}
	for _, stream := range f.streams {
		dirs, globErr := filepath.Glob(filepath.Join(b.server.storeDir(), "*", "streams", stream))
		if globErr != nil {
			return errors.Join(err, globErr)
		}
		for _, dir := range dirs {
			if asideErr := b.setAside(dir, err, stream); asideErr != nil {
				return errors.Join(err, asideErr)
			}
		}
	}
	return b.server.start()
}

const (
	// remakeTimeout bounds making a derived stream again while the broker runs.
	remakeTimeout = 5 * time.Second
	// remakePause lies between two times at least.
	remakePause = 10 * time.Second
	// restartHelps is how long ago a restart of the server must have been for another
	// one to be tried on a fault of ADVISORIES.
	restartHelps = time.Minute
)

// derivedFault cures a fault of nothing but derived streams while intake goes on, and
// reports whether f is one; otherwise the server has to be restarted.
//
// A restart that helps keeps the advisories. So it comes first, and they are given up
// only when it didn't: the reconciler finds the events that they were about.
func (b *Broker) derivedFault(ctx context.Context, f fault, last *serverLook) bool {
	if !b.cfg.Consume || !f.only(derived) {
		return false
	}
	if slices.Contains(f.streams, advisoriesStream) && time.Since(last.restarted) > restartHelps {
		return false
	}
	if time.Since(last.remade) < remakePause {
		return true
	}
	last.remade = time.Now()
	b.log.Warn("a stream can't be used and is made again; no event is lost by it", "streams", f.streams, "problem", f.problem)
	if err := b.remake(ctx, f.streams); err != nil {
		b.log.Error("a stream that can't be used can't be made again yet", "streams", f.streams, "error", err)
	}
	return true
}

// remake deletes derived streams, makes them again, and stores the reconciler's
// position if the broker has none.
func (b *Broker) remake(ctx context.Context, streams []string) error {
	ctx, cancel := context.WithTimeout(ctx, remakeTimeout)
	defer cancel()
	if err := b.remakeStreams(ctx, streams); err != nil {
		return err
	}
	verified, err := b.verifiedUpTo(ctx)
	if err != nil || verified == 0 {
		return err
	}
	return b.publishPosition(ctx, verified)
}

func (b *Broker) remakeStreams(ctx context.Context, streams []string) error {
	for _, stream := range streams {
		if err := b.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s: %w", stream, err)
		}
	}
	if err := b.ensureTopology(ctx); err != nil {
		return err
	}
	if b.advisories != nil {
		b.advisories.reconnected() // its open pull may have gone with its consumer
	}
	return nil
}

// confirmPosition reads what was just stored, after a time when there was nothing to
// read: a damaged stream may take a position in and not find it, so that everything
// would be verified again and again. An embedded broker's stream is then made again; an
// external one's may only lag behind.
func (b *Broker) confirmPosition(ctx context.Context, stored uint64) error {
	read, err := b.verifiedUpTo(ctx)
	if err != nil || read == stored || b.server == nil {
		return err
	}
	b.log.Warn("a stream does not return what it has stored, it is made again; no event is lost by it", "stream", progressStream)
	if err := b.remakeStreams(ctx, []string{progressStream}); err != nil {
		return err
	}
	if err := b.publishPosition(ctx, stored); err != nil {
		return err
	}
	if read, err = b.verifiedUpTo(ctx); err == nil && read != stored {
		err = down("verified", fmt.Errorf("stream %s was made again and still returns %d instead of %d", progressStream, read, stored))
	}
	return err
}
