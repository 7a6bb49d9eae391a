package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// flusher makes the store durable, and remembers when that has failed: the kernel
// tells of what it could not write once, to one caller, and treats it as written
// from then on. So after a failure every flush fails until repair, whoever asks,
// and a file beside the store says so to whoever opens it next, if this process
// ends before. That file need not survive a power cut: what could not be written
// is gone from memory then, too.
type flusher struct {
	do     func() error // makes durable all that was written
	mark   *os.File     // markLen bytes: blank, or when the last good flush began
	log    *slog.Logger
	m      *metrics
	failed func(error) // is told about the first failure since the last repair

	turn sync.Mutex // held during a flush, so that an error meets who knows of it
	mu   sync.Mutex
	err  error     // of the flush that failed; nil while well
	good time.Time // start of the last flush that succeeded; zero before the first
}

const (
	// markFile is written in place, which takes no space on a full disk.
	markFile = "flush-failed"
	markLen  = 64
	// dirtySlack covers how coarse a file's modification time may be.
	dirtySlack = 2 * time.Second
)

// newFlusher returns a flusher for the store in dir, which fails until it is
// repaired if an earlier process left it so.
func newFlusher(dir string, do func() error, log *slog.Logger, m *metrics, failed func(error)) (*flusher, error) {
	mark, err := os.OpenFile(filepath.Join(dir, markFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the mark of failed flushes: %w", err)
	}
	f := &flusher{do: do, mark: mark, log: log, m: m, failed: failed}
	text, err := io.ReadAll(io.LimitReader(mark, markLen))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the mark of failed flushes: %w", err), mark.Close())
	}
	if text = bytes.TrimSpace(text); len(text) > 0 {
		// A time that can't be read is none: then everything is repaired.
		f.good, _ = time.Parse(time.RFC3339Nano, string(text))
		f.err = errors.New("it failed before this start")
		return f, nil
	}
	return f, f.writeMark("")
}

// openFlusher makes the broker's flusher. Its first flush hears of what could not be
// written since the last process ended, too. Where no call flushes a whole file
// system, the server flushes each message.
func (b *Broker) openFlusher(dir string, flush func() error) (err error) {
	first := flush()
	if errors.Is(first, errors.ErrUnsupported) {
		if b.cfg.Sync == SyncGroup {
			b.cfg.Sync, b.sync = SyncAlways, "always (this system has no group flush)"
			b.log.Warn("sync is always instead of group: this system can't flush a whole file system")
		}
		flush = func() error { return flushEach(dir) }
		first = flush()
	}
	if inMemory(dir) {
		b.sync += " (in memory)"
		b.log.Warn("the queue's file system is in memory: no flush makes it survive a power cut", "dir", dir)
	}
	b.flusher, err = newFlusher(dir, flush, b.log, b.m, func(err error) {
		b.gate.shut(flushFailed, "the disk refused a flush: "+err.Error())
		signal(b.trouble)
	})
	if err != nil {
		return err
	}
	b.onStop("flush", func(context.Context) error { return errors.Join(b.flusher.flush(), b.flusher.close()) })
	if first != nil {
		b.flusher.suspect(time.Time{}, first)
	}
	return nil
}

func (f *flusher) close() error { return f.mark.Close() }

// flush makes durable all that was written before, unless an earlier flush has
// failed.
func (f *flusher) flush() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if _, err := f.state(); err != nil {
		return err
	}
	start := time.Now()
	err := f.do()
	f.m.flushes.Inc()
	f.m.flushSeconds.Observe(time.Since(start).Seconds())
	if err != nil {
		f.fail(err)
		return err
	}
	f.mu.Lock()
	f.good = start
	f.mu.Unlock()
	return nil
}

// state returns when the last good flush began, and the error of the flush that
// failed, nil while well.
func (f *flusher) state() (good time.Time, failed error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.good, f.err
}

// suspect says that a flush of the server's own may have failed since good.
func (f *flusher) suspect(good time.Time, err error) {
	f.turn.Lock()
	defer f.turn.Unlock()
	if _, failed := f.state(); failed != nil {
		return
	}
	f.mu.Lock()
	f.good = good
	f.mu.Unlock()
	f.fail(err)
}

// fail remembers a failure; turn is held.
func (f *flusher) fail(err error) {
	f.mu.Lock()
	f.err = err
	good := f.good
	f.mu.Unlock()
	f.m.flushErrors.Inc()
	f.log.Error("flush failed, no event is accepted until the store is repaired", "error", err)
	if err := f.writeMark(good.Format(time.RFC3339Nano)); err != nil {
		f.log.Error("the failed flush can't be remembered on disk: don't end this process before intake is open again", "error", err)
	}
	f.failed(err)
}

// repair makes the stopped store in dir durable, rewriting first what an earlier
// flush left behind if one has failed, and lets flushes succeed again.
func (f *flusher) repair(dir string) error {
	since, failed := f.state()
	if failed == nil {
		return f.flush()
	}
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := repairStore(dir, since.Add(-dirtySlack)); err != nil {
		return err
	}
	start := time.Now()
	if err := f.do(); err != nil {
		return err
	}
	f.mu.Lock()
	f.good, f.err = start, nil
	f.mu.Unlock()
	return f.writeMark("")
}

func (f *flusher) writeMark(text string) error {
	_, err := f.mark.WriteAt(fmt.Appendf(nil, "%-*s", markLen, text), 0)
	return err
}
