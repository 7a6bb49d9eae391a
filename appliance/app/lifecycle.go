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

// lifecycle stops what was started. Every resource registers its stop where it is made;
// stops run in reverse order, so that a part stops before those that it was built on.
type lifecycle struct {
	log   *slog.Logger
	mu    sync.Mutex
	stops []namedStop
}

type namedStop struct {
	name string
	stop func(context.Context) error
}

// OnStop registers a stop. Stops share the one bound given to [lifecycle.Stop].
func (l *lifecycle) OnStop(name string, stop func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops = append(l.stops, namedStop{name, stop})
}

// Run starts fn in the background and registers its stop: its context ends, and
// then it has to return.
func (l *lifecycle) Run(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	l.OnStop(name, func(bound context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-bound.Done():
			return errors.New("did not end in time")
		}
	})
}

// Stop runs every stop once, last in, first out, and joins their errors. A stop
// that fails does not keep the others from running.
func (l *lifecycle) Stop(ctx context.Context) error {
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
