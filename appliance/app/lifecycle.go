package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// lifecycle remembers how to stop what was started. Every resource registers its
// stop where it is born; stops run in reverse order, so that whoever was built on
// something goes before it.
type lifecycle struct {
	log   *slog.Logger
	mu    sync.Mutex
	stops []namedStop
}

type namedStop struct {
	name string
	stop func(context.Context) error
}

// onStop registers a stop. Stops share the one bound given to [lifecycle.stop].
func (l *lifecycle) onStop(name string, stop func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops = append(l.stops, namedStop{name, stop})
}

// run starts fn in the background and registers its stop: its context ends, and
// then it has to return.
func (l *lifecycle) run(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	l.onStop(name, func(bound context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-bound.Done():
			return errors.New("did not end in time")
		}
	})
}

// stop runs every stop once, last in, first out, and joins their errors. A stop
// that fails does not keep the others from running.
func (l *lifecycle) stop(ctx context.Context) error {
	l.mu.Lock()
	stops := l.stops
	l.stops = nil
	l.mu.Unlock()
	var all error
	for _, s := range slices.Backward(stops) {
		started := time.Now()
		if err := s.stop(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("stop %s: %w", s.name, err))
			l.log.Error("stopping a part failed", "part", s.name, "error", err)
			continue
		}
		l.log.Info("stopped", "part", s.name, "took", time.Since(started).Round(time.Millisecond))
	}
	return all
}
