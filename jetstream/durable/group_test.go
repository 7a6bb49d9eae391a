package durable

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestGroupReleasesWhatItFlushed lets a group form during a flush, and the last one when
// the group ends.
func TestGroupReleasesWhatItFlushed(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	flushing, results := make(chan struct{}), make(chan error)
	type released struct {
		items []int
		err   error
	}
	groups := make(chan released, 10)
	g := NewGroup(func() error { flushing <- struct{}{}; return <-results }, func(items []int, err error) {
		groups <- released{slices.Clone(items), err}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()

	g.Add(1)
	<-flushing
	g.Add(2, 3)
	g.Add(4)
	if n := g.Waiting(); n != 3 {
		t.Errorf("%d wait for the next flush, want 3", n)
	}
	results <- nil
	<-flushing
	g.Add(5)
	cancel()
	results <- failed
	<-flushing
	results <- nil
	<-done
	for i, want := range []released{{[]int{1}, nil}, {[]int{2, 3, 4}, failed}, {[]int{5}, nil}} {
		if got := <-groups; !slices.Equal(got.items, want.items) || !errors.Is(got.err, want.err) {
			t.Errorf("group %d: %+v, want %+v", i, got, want)
		}
	}
}
