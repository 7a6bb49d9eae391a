package terminal

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// steps counts ten items, one a second, the third a failure.
func steps(terminal bool, total int) string {
	var out bytes.Buffer
	now := noon
	p := NewProgress(ProgressConfig{Out: &out, Terminal: terminal, Verb: "replayed", Total: total, Now: func() time.Time { return now }})
	for i := range 10 {
		now = now.Add(time.Second)
		p.Step(i != 2)
	}
	p.Print("said")
	p.Clear()
	return out.String()
}

func TestProgressInPlainLines(t *testing.T) {
	t.Parallel()
	want := "replayed 4 of 10, 1 failed, about 5s left\nreplayed 9 of 10, 1 failed\nsaid\n"
	if got := steps(false, 10); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestProgressBar(t *testing.T) {
	t.Parallel()
	const erase = "\r\x1b[K"
	frames := strings.Split(steps(true, 10), erase)
	if len(frames) != 13 || frames[5] != "[###############...............] replayed 4 of 10, 1 failed, about 5s left" ||
		frames[11] != "said\n" || frames[12] != "" {
		t.Errorf("%q", frames)
	}
}

func TestProgressOfUnknownLength(t *testing.T) {
	t.Parallel()
	want := "replayed 4, 1 failed\nreplayed 9, 1 failed\nsaid\n"
	if got := steps(false, 0); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestProgressDoesNotFlicker(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := NewProgress(ProgressConfig{Out: &out, Terminal: true, Verb: "sent", Total: 1000, Now: func() time.Time { return noon }})
	for range 1000 {
		p.Step(true)
	}
	if out.Len() > 0 {
		t.Errorf("drawn within no time: %q", out.String())
	}
}

func TestProgressOfAShare(t *testing.T) {
	t.Parallel()
	share := func(terminal bool) string {
		var out bytes.Buffer
		p := NewProgress(ProgressConfig{Out: &out, Terminal: terminal, Now: func() time.Time { return noon }})
		p.Share("7 sent", 0.5)
		p.Share("7 left", -1)
		return out.String()
	}
	if got := share(false); got != " 50%  7 sent\n7 left\n" {
		t.Errorf("%q", got)
	}
	if got, want := share(true), "\r\x1b[K[###############...............] 7 sent\r\x1b[K7 left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProgressDuringSomethingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewProgress(ProgressConfig{Out: &out, Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		n := 0
		p.During(ctx, func() (string, float64) { n++; return fmt.Sprint(n, " sent"), 0.25 * float64(n) })
		if want := " 25%  1 sent\n 50%  2 sent\n"; out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	})
}
