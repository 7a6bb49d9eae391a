package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// How often a meter shows where a load is.
const (
	meterOnTerminal = 250 * time.Millisecond
	meterElsewhere  = 2 * time.Second
	meterWidth      = 24 // of the bar
)

// meter shows how far a load has come: a bar with figures on a terminal, a line
// now and then elsewhere.
type meter struct {
	out      io.Writer
	terminal bool
}

// say prints one line about what happens next.
func (m *meter) say(format string, args ...any) {
	m.clear()
	fmt.Fprintf(m.out, format+"\n", args...)
}

func (m *meter) clear() {
	if m.terminal {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}

// during shows what line says every so often until ctx ends. done is the share
// that is done, below 0 when nobody knows.
func (m *meter) during(ctx context.Context, line func() (text string, done float64)) {
	every := meterElsewhere
	if m.terminal {
		every = meterOnTerminal
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	defer m.clear()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.show(line())
		}
	}
}

func (m *meter) show(text string, done float64) {
	switch {
	case !m.terminal && done >= 0:
		fmt.Fprintf(m.out, "%3.0f%%  %s\n", 100*done, text)
	case !m.terminal:
		fmt.Fprintln(m.out, text)
	case done < 0:
		m.clear()
		fmt.Fprint(m.out, text)
	default:
		m.clear()
		full := int(meterWidth * min(done, 1))
		fmt.Fprintf(m.out, "[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", meterWidth-full), text)
	}
}
