package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Flusher makes a store durable, and records when that has failed: the kernel
// reports what it could not write once, to one caller, and treats it as written
// from then on. So after a failure every flush fails until [Flusher.Repair],
// for every caller, and a file beside the store records it for the process that opens it
// next, if this process ends before. That file need not survive a power cut: what
// could not be written is gone from memory then, too.
//
// Its methods may be called by any number of goroutines.
type Flusher struct {
	cfg     Config
	grouped bool     // one call flushes all of the file system
	record  *os.File // recordBytes: blank, or when the last good flush began
	closeFD func() error

	flushing sync.Mutex // held during a flush, so that an error reaches the one that caused it
	mu       sync.Mutex
	err      error     // of the flush that failed; nil while well
	good     time.Time // start of the last flush that succeeded; zero before the first
}

// Config is what a [Flusher] works with. Every field but Flush is needed.
type Config struct {
	Dir    string // of the store; the record of a failed flush is in it
	Logger *slog.Logger
	// Flushed is called after each flush with its duration.
	Flushed func(took time.Duration)
	// Failed is called with the first failure since the last repair, before the
	// flush that failed returns.
	Failed func(error)
	// Flush is called instead of flushing the file system of Dir, in tests.
	Flush func() error
}

const (
	// recordFile is written in place, which takes no space on a full disk.
	recordFile  = "flush-failed"
	recordBytes = 64
	// modifiedSlack covers how coarse a file's modification time may be.
	modifiedSlack = 2 * time.Second
)

// NewFlusher returns a flusher. It fails until it is repaired if an earlier process left
// the store so, or if its first flush fails: that one gets the error of what could not be
// written since the last process ended, too.
func NewFlusher(cfg Config) (*Flusher, error) {
	f := &Flusher{cfg: cfg, closeFD: func() error { return nil }}
	if err := f.chooseFlush(); err != nil {
		return nil, err
	}
	first := f.cfg.Flush()
	if errors.Is(first, errors.ErrUnsupported) {
		f.grouped, f.cfg.Flush = false, func() error { return flushTree(cfg.Dir) }
		first = f.cfg.Flush()
	}
	if err := f.openRecord(); err != nil {
		return nil, errors.Join(err, f.closeFD())
	}
	if first != nil {
		f.Suspect(time.Time{}, first)
	}
	return f, nil
}

func (f *Flusher) chooseFlush() (err error) {
	f.grouped = true
	if f.cfg.Flush == nil {
		f.cfg.Flush, f.closeFD, err = flushFS(f.cfg.Dir)
	}
	return err
}

// openRecord opens the record of a failed flush, and takes over what it says.
func (f *Flusher) openRecord() (err error) {
	if f.record, err = os.OpenFile(filepath.Join(f.cfg.Dir, recordFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("open the record of failed flushes: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f.record, recordBytes))
	if err != nil {
		return errors.Join(fmt.Errorf("read the record of failed flushes: %w", err), f.record.Close())
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return f.writeRecord("")
	}
	// A time that can't be read is none: then everything is repaired.
	f.good, _ = time.Parse(time.RFC3339Nano, string(text))
	f.err = errors.New("it failed before this start")
	return nil
}

// Grouped reports whether one call makes durable all that was written, in a time that a
// group of publishes can wait for. Otherwise each file is flushed by itself.
func (f *Flusher) Grouped() bool { return f.grouped }

// Close releases the files. It does not flush.
func (f *Flusher) Close() error { return errors.Join(f.record.Close(), f.closeFD()) }

// Flush makes durable all that was written before, unless an earlier flush has
// failed.
func (f *Flusher) Flush() error {
	f.flushing.Lock()
	defer f.flushing.Unlock()
	if err := f.Failed(); err != nil {
		return err
	}
	start := time.Now()
	err := f.cfg.Flush()
	f.cfg.Flushed(time.Since(start))
	if err != nil {
		f.fail(err)
		return err
	}
	f.mu.Lock()
	f.good = start
	f.mu.Unlock()
	return nil
}

// Failed returns the error of the flush that failed since the last repair, nil
// while there is none.
func (f *Flusher) Failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Suspect reports that a flush by another part, such as one of the server, may have
// failed since good; the zero time means that nothing is known to be durable.
func (f *Flusher) Suspect(good time.Time, err error) {
	f.flushing.Lock()
	defer f.flushing.Unlock()
	if f.Failed() != nil {
		return
	}
	f.mu.Lock()
	f.good = good
	f.mu.Unlock()
	f.fail(err)
}

// fail records a failure; flushing is held.
func (f *Flusher) fail(err error) {
	f.mu.Lock()
	f.err = err
	good := f.good
	f.mu.Unlock()
	f.cfg.Logger.Error("flush failed, no event is accepted until the store is repaired", "error", err)
	if err := f.writeRecord(good.Format(time.RFC3339Nano)); err != nil {
		f.cfg.Logger.Error("the failed flush can't be recorded on disk: don't end this process before intake is open again", "error", err)
	}
	f.cfg.Failed(err)
}

// Repair makes the stopped store in dir durable, rewriting first what an earlier
// flush left behind if one has failed, and lets flushes succeed again.
func (f *Flusher) Repair(dir string) error {
	if f.Failed() == nil {
		return f.Flush()
	}
	f.flushing.Lock()
	defer f.flushing.Unlock()
	f.mu.Lock()
	since := f.good
	f.mu.Unlock()
	if err := repairStore(dir, since.Add(-modifiedSlack)); err != nil {
		return err
	}
	start := time.Now()
	if err := f.cfg.Flush(); err != nil {
		return err
	}
	f.mu.Lock()
	f.good, f.err = start, nil
	f.mu.Unlock()
	return f.writeRecord("")
}

func (f *Flusher) writeRecord(text string) error {
	_, err := f.record.WriteAt(fmt.Appendf(nil, "%-*s", recordBytes, text), 0)
	return err
}
