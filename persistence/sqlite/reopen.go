package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	// reopenFirst and reopenLongest bound the wait between two tries to open a file.
	reopenFirst   = 250 * time.Millisecond
	reopenLongest = 5 * time.Second
)

var errGone = errors.New("it is not there any more: move a copy from the backup into its place, or restart the appliance to begin with an empty one")

// open opens the file and puts it in use; on error calls say why there is none. A file
// that was there before is not made again once it is gone: it is being replaced.
func (s *Store) open(ctx context.Context) error {
	entry, missing := os.Lstat(s.config.Path)
	s.existed = s.existed || missing == nil && entry.Size() > 0
	var files *files
	err := errGone
	if missing == nil || !s.existed {
		files, err = openFiles(ctx, s.config)
	}
	if err != nil {
		err = s.unavailable(err)
		s.unavail.Store(&err)
		return err
	}
	s.files.Store(files)
	return nil
}

// fileVersion tells one content of a file from another; zero for no file.
type fileVersion struct {
	size    int64
	changed time.Time
}

func lookAt(path string) fileVersion {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}
	}
	return fileVersion{info.Size(), info.ModTime()}
}

// unavailable says what keeps the file from being opened, and what to do.
func (s *Store) unavailable(err error) error {
	if _, foreign := errors.AsType[*foreignFileError](err); foreign {
		return err
	}
	err = s.withCause(err)
	if isDamage(err) && !isDiskError(err) {
		return fmt.Errorf("it is damaged (%w): move it away together with its -wal and -shm, and move a copy from the backup into its place", err)
	}
	return err
}

// keepOpen opens the file until that works, then checks it for damage, and ends
// when the store is closed.
func (s *Store) keepOpen() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-s.closed
		cancel()
	}()
	if s.files.Load() == nil {
		s.log.Error("the store can't be opened, events wait in the queue until it can", "path", s.config.Path, "error", *s.unavail.Load())
	}
	seen := lookAt(s.config.Path)
	for pause := reopenFirst; s.files.Load() == nil; pause = min(2*pause, reopenLongest) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if now := lookAt(s.config.Path); now != seen { // a copy may be under way
			seen, pause = now, reopenFirst
			continue
		}
		if err := s.open(ctx); err == nil {
			s.log.Info("the store is open", "path", s.config.Path)
		}
		seen = lookAt(s.config.Path)
	}
	s.checkDamage(ctx)
}

// closeFiles closes f. A connection that met a fault of memory is left alone, with its
// locks: the next start recovers.
func (s *Store) closeFiles(f *files) error {
	if s.health.faulted() {
		return nil
	}
	moved := f.inPlace() // SQLite then leaves the log where it is
	err := f.close()
	if moved == nil {
		return err
	}
	aside, err2 := f.setLogAside()
	if aside != "" {
		s.log.Warn("the store's file is not where it was opened, its log was set aside: put the two together under their names to use them",
			"file", f.path, "log", aside, "moved", moved)
	}
	return errors.Join(err, err2)
}
