package integrity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

func lossesIn(t *testing.T, dir string) *losses {
	t.Helper()
	l, aside, err := openLosses(dir)
	if err != nil || aside != "" {
		t.Fatalf("open: %v, set aside as %q", err, aside)
	}
	return l
}

// run is the set of the sequences from first to last.
func runOf(first, last uint64) ranges { return ranges{{First: first, Last: last}} }

func TestLossesAreKeptAndAcknowledged(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	l := lossesIn(t, dir)
	add := func(first, last uint64, want uint64) string {
		t.Helper()
		id, added, err := l.add(missing{cause: loss.Cut, birth: 1, sequences: runOf(first, last)}, now)
		if err != nil || added.count() != want {
			t.Fatalf("added %v, %v, want %d", added, err, want)
		}
		return id
	}
	first := add(5, 9, 5)
	add(5, 9, 0) // known
	if l.problem() == "" {
		t.Error("a loss is no problem")
	}
	if _, err := l.acknowledge(first, "sent again", now); err != nil {
		t.Fatal(err)
	}
	l = lossesIn(t, dir)
	if all := l.all(); len(all) != 1 || all[0].AcknowledgedAt.IsZero() || all[0].Note != "sent again" || all[0].Events != 5 || l.problem() != "" {
		t.Errorf("after a restart: %+v, problem %q", all, l.problem())
	}
	add(6, 9, 0)
	second := add(8, 12, 3)
	if second == first || !strings.Contains(l.problem(), "3 accepted events") {
		t.Errorf("a new loss has the id %s of the old one, or is no problem: %q", second, l.problem())
	}
	if all, open := l.counts(); all != 8 || open != 3 {
		t.Errorf("%d lost, %d of them not acknowledged", all, open)
	}
	if _, err := l.acknowledge("9", "", now); event.CodeOf(err) != event.NotFound {
		t.Errorf("acknowledging what is not there: %v", err)
	}
}

func TestMissingEventsWithAnOutcomeAreNotLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := lossesIn(t, dir)
	if _, _, err := l.add(missing{cause: loss.Hole, birth: 1, sequences: runOf(1, 2*checkedAtOnce)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for found := l.unchecked(); len(found) > 0; found = l.unchecked() {
		for _, m := range found {
			asked++
			var ended []uint64
			for seq := m.Sequence.First; seq <= m.Sequence.Last; seq++ {
				if seq != 7 && seq != 9 {
					ended = append(ended, seq)
				}
			}
			if _, err := l.checked(m, ended); err != nil {
				t.Fatal(err)
			}
		}
	}
	l = lossesIn(t, dir)
	if all := l.all(); asked != 2 || len(all) != 1 || all[0].Events != 2 || all[0].Unchecked != 0 || ranges(all[0].Sequences).String() != "7, 9" {
		t.Errorf("after %d look-ups: %+v", asked, all)
	}
	m := loss.Missing{LossID: "1", Sequence: loss.Range{First: 1, Last: 10}}
	if lost, err := l.checked(m, nil); err != nil || len(lost) > 0 { // looked up already
		t.Errorf("a second look-up finds %v lost, %v", lost, err)
	}
}

func TestLossesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := lossesIn(t, dir)
	var every []uint64
	for i := range uint64(3 * maxLossRanges) {
		every = append(every, 2*i+1)
	}
	if _, _, err := l.add(missing{cause: loss.Hole, birth: 1, sequences: sequencesOf(every)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	all := l.all()
	if len(all) != 1 || all[0].Events != 3*maxLossRanges || !all[0].Truncated || len(all[0].Sequences) != maxLossRanges {
		t.Errorf("%d losses, the first one of %d events and %d ranges", len(all), all[0].Events, len(all[0].Sequences))
	}

	l = lossesIn(t, t.TempDir())
	for range maxLosses - 1 {
		l.list = append(l.list, &lossRecord{ID: "1", Birth: 1, Lost: runOf(1, 1)})
	}
	l.list[3].AcknowledgedAt = time.Now()
	for i := range 4 {
		if _, _, err := l.add(missing{cause: loss.Cut, birth: int64(i + 2), sequences: runOf(1, 1)}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	// One found a place, one that of the acknowledged loss, and two joined the last.
	if events, open := l.counts(); len(l.list) != maxLosses || events != maxLosses+2 || open != events {
		t.Errorf("%d losses of %d events, %d open", len(l.list), events, open)
	}
}

func TestDamagedListOfLossesIsSetAside(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", "[null]", `{"a":1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, lossesName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l, aside, err := openLosses(dir)
		if err != nil || aside == "" || len(l.all()) > 0 {
			t.Fatalf("%q: %v, set aside as %q", content, err, aside)
		}
		if kept, err := os.ReadFile(aside); err != nil || string(kept) != content {
			t.Errorf("set aside is %q, %v", kept, err)
		}
	}
}
