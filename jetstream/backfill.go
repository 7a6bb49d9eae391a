package jetstream

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// backfill begins recent again with what is stored within the duplicate window. That may
// be a million events, which the server's files have several times as fast as the
// server; it is asked for what they don't have.
func (b *Broker) backfill(ctx context.Context) error {
	info, err := b.topo.Load().events.Info(ctx, natsjs.WithDeletedDetails(true))
	if err != nil {
		return down("look at the stream", err)
	}
	last, removed := info.State.LastSeq, info.State.Deleted // which the files may still have
	slices.Sort(removed)
	first, ok, err := b.firstSince(ctx, time.Now().Add(-b.cfg.DuplicateWindow))
	if err != nil {
		return fmt.Errorf("look for events of the duplicate window: %w", err)
	}
	if !ok || first > last {
		b.recent.reset(last)
		return nil
	}
	start := time.Now()
	b.recent.reset(first - 1)
	b.recent.stored(last)
	fromFiles := 0
	err = readBlocks(b.messageDir(), eventsStream, first, func(seq uint64, headers []byte, at time.Time) {
		if _, gone := slices.BinarySearch(removed, seq); !gone && seq <= last {
			b.learnOne(seq, headerOf(headers, msgIDHeader), at)
			fromFiles++
		}
	})
	if err != nil {
		b.log.Warn("the ids of the duplicate window can't be read from the store's files, the broker is asked for them", "error", err)
	}
	if err := b.fillHoles(ctx, last); err != nil {
		return fmt.Errorf("read the ids of the duplicate window: %w", err)
	}
	b.log.Info("ids of the duplicate window read", "events", last-first+1, "from_files", fromFiles, "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// messageDir is where the embedded server keeps the events.
func (b *Broker) messageDir() string {
	return filepath.Join(b.server.storeDir(), "$G", "streams", eventsStream, "msgs")
}

// headerOf returns the value of a header in a block of them, as we write it.
func headerOf(block []byte, name string) []byte {
	_, after, found := bytes.Cut(block, []byte("\r\n"+name+": "))
	if !found {
		return nil
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	return value
}
