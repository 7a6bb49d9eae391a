package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLifecycleStopsInReverseAndJoinsErrors(t *testing.T) {
	l := &lifecycle{log: slog.New(slog.DiscardHandler)}
	var order []string
	for _, name := range []string{"first", "second", "third"} {
		l.OnStop(name, func(context.Context) error {
			order = append(order, name)
			if name == "second" {
				return errors.New("stuck")
			}
			return nil
		})
	}
	err := l.Stop(t.Context())
	if !slices.Equal(order, []string{"third", "second", "first"}) {
		t.Errorf("stopped in the order %v", order)
	}
	if err == nil || !strings.Contains(err.Error(), "stop second: stuck") {
		t.Errorf("error is %v", err)
	}
	if err := l.Stop(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("a second stop ran %v with %v", order, err)
	}
}

func TestLifecycleStopIsBounded(t *testing.T) {
	l := &lifecycle{log: slog.New(slog.DiscardHandler)}
	release := make(chan struct{})
	defer close(release)
	l.Run("stubborn", func(context.Context) error { <-release; return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Stop(ctx); err == nil || !strings.Contains(err.Error(), "stubborn") {
		t.Errorf("error is %v, want one that names the part", err)
	}
}
