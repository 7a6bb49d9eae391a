package terminal

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	barWidth      = 30
	barInterval   = 100 * time.Millisecond // between two drawings on a terminal
	linesInterval = 5 * time.Second        // between two lines elsewhere

	shareBarInterval   = 250 * time.Millisecond // the same for figures of a rate, which
	shareLinesInterval = 2 * time.Second        // is counted between the two
)

// ProgressConfig says where and how progress is shown.
type ProgressConfig struct {
	Out      io.Writer        // usually standard error
	Terminal bool             // a bar that is redrawn, instead of a line now and then
	Verb     string           // what happens to the items, such as "replayed"
	Total    int              // items there are, 0 when unknown
	Now      func() time.Time // the clock
}

// Progress shows how far a long command has come: as a bar on a terminal, as
// plain lines elsewhere. It is safe for concurrent use.
type Progress struct {
	cfg    ProgressConfig
	start  time.Time
	mu     sync.Mutex
	done   int
	failed int
	shown  time.Time
}

// NewProgress starts the clock; nothing is shown yet.
func NewProgress(cfg ProgressConfig) *Progress {
	now := cfg.Now()
	return &Progress{cfg: cfg, start: now, shown: now}
}

// Step counts one item that is dealt with.
func (p *Progress) Step(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if !ok {
		p.failed++
	}
	interval := linesInterval
	if p.cfg.Terminal {
		interval = barInterval
	}
	if now := p.cfg.Now(); now.Sub(p.shown) >= interval {
		p.shown = now
		p.show(now)
	}
}

// Print writes a line of its own without tearing the bar.
func (p *Progress) Print(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	_, _ = fmt.Fprintln(p.cfg.Out, line)
}

// During shows what line returns every so often until ctx ends. done is the share that
// is done, below 0 when it is not known.
func (p *Progress) During(ctx context.Context, line func() (text string, done float64)) {
	interval := shareLinesInterval
	if p.cfg.Terminal {
		interval = shareBarInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	defer p.Clear()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.Share(line())
		}
	}
}

// Share shows a text and which share is done, below 0 when it is not known.
func (p *Progress) Share(text string, done float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cfg.Terminal && done >= 0 {
		text = fmt.Sprintf("%3.0f%%  %s", 100*done, text)
	}
	p.draw(text, done)
}

// Clear removes the bar until the next step draws it again, so that something
// else can be printed; and at the end.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *Progress) clear() {
	if p.cfg.Terminal {
		_, _ = fmt.Fprint(p.cfg.Out, "\r\x1b[K")
	}
}

func (p *Progress) show(now time.Time) {
	text := fmt.Sprintf("%s %d", p.cfg.Verb, p.done-p.failed)
	if p.cfg.Total > 0 {
		text += fmt.Sprintf(" of %d", p.cfg.Total)
	}
	if p.failed > 0 {
		text += fmt.Sprintf(", %d failed", p.failed)
	}
	if left := p.left(now); left > 0 {
		text += fmt.Sprintf(", about %v left", left)
	}
	share := -1.0
	if p.cfg.Total > 0 {
		share = float64(p.done) / float64(p.cfg.Total)
	}
	p.draw(text, share)
}

// draw shows a text: as a line, or behind a bar where the share is known.
func (p *Progress) draw(text string, share float64) {
	if !p.cfg.Terminal {
		_, _ = fmt.Fprintln(p.cfg.Out, text)
		return
	}
	p.clear()
	if share >= 0 {
		full := int(barWidth * min(share, 1))
		text = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] " + text
	}
	_, _ = fmt.Fprint(p.cfg.Out, text)
}

// left estimates the time to the end from the pace so far, in whole seconds.
func (p *Progress) left(now time.Time) time.Duration {
	if p.done == 0 || p.cfg.Total == 0 {
		return 0
	}
	perItem := now.Sub(p.start) / time.Duration(p.done)
	return (perItem * time.Duration(p.cfg.Total-p.done)).Round(time.Second)
}
