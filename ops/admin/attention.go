package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
)

// Bounds of the search for couriers that are silent.
const (
	silenceEvery = time.Minute // between two searches
	silencePages = 100         // couriers that are looked at
	habitPeriods = 1000        // stretches of time with requests that make up a habit
	leastPeriods = 20          // fewer are no habit
	leastSilence = time.Hour   // a shorter silence is none

	ignoredFor   = 24 * time.Hour // with nothing else that is accepted
	leastIgnored = 10             // requests: fewer are a test of the sender's
)

// silences keeps what the last search has found for couriers that send nothing, or nothing
// that is not ignored.
type silences struct {
	mu    sync.Mutex
	at    time.Time
	found []ops.Attention
}

// unverified returns the couriers that could refuse what is good.
func unverified(couriers []ops.CourierInfo) (all []ops.Attention) {
	for _, c := range couriers {
		if c.Unverified && c.Mode == ops.ModeEnforce {
			all = append(all, ops.Attention{
				Courier: c.Name, What: "its preset " + c.Preset + " is enforced, and not all of it comes from the sender's own pages: good requests may be refused",
				Do: "set mode = \"observe\" in [couriers." + c.Name + "], then `appliance couriers reload`, until `appliance rejections list --courier " + c.Name + "` stays empty",
			})
		}
	}
	return all
}

// unmapped returns the couriers that send statuses which no mapping knows.
func unmapped(ctx context.Context, deps *Deps) (all []ops.Attention) {
	if deps.Unmapped == nil {
		return nil
	}
	list, _ := deps.Unmapped(ctx) // the status says what is wrong with the store
	last, count := map[string]ops.UnmappedStatus{}, map[string]int{}
	for _, s := range list.Statuses {
		if !s.Mapped { // what is mapped by now stays listed, whether its events were reprocessed or not
			if count[s.Courier]++; count[s.Courier] == 1 || s.LastSeen.After(last[s.Courier].LastSeen) {
				last[s.Courier] = s
			}
		}
	}
	for _, courier := range slices.Sorted(maps.Keys(last)) {
		s, are, move := last[courier], "statuses are", "move"
		if count[courier] == 1 {
			are, move = "statuses is", "moves"
		}
		all = append(all, ops.Attention{
			Courier: courier, What: fmt.Sprintf("%d of its %s in no mapping and %s no shipment, the last %q at %s", count[courier], are, move, s.Status, s.LastSeen.UTC().Format(time.RFC3339)),
			Do: "`appliance couriers unmapped` lists them: add each to the states of [couriers." + courier + ".event], then `appliance couriers reload` and `appliance events reprocess`",
		})
	}
	return all
}

// search returns the couriers that have sent nothing for longer than ever before, and those
// whose requests are all ignored. It searches now and then: the answer may be a minute old.
func (s *silences) search(ctx context.Context, deps *Deps) []ops.Attention {
	if deps.Ingestions == nil || deps.Couriers == nil {
		return nil
	}
	couriers := deps.Couriers()
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < silenceEvery {
		return s.found
	}
	s.at, s.found = time.Now(), nil
	for _, c := range couriers[:min(len(couriers), silencePages)] {
		records, err := deps.Ingestions.Ingestions(ctx, ingestion.Filter{
			Courier: c.Name, Outcomes: []ingestion.Outcome{ingestion.Accepted, ingestion.Duplicate}, Limit: habitPeriods,
		})
		if err != nil {
			return s.found // the status says what is wrong with the store
		}
		recent, err := deps.Ingestions.Ingestions(ctx, ingestion.Filter{
			Courier: c.Name, Outcomes: []ingestion.Outcome{ingestion.Accepted, ingestion.Duplicate, ingestion.Observed, ingestion.Ignored}, Limit: habitPeriods,
		})
		if err != nil {
			return s.found
		}
		if n := allIgnored(recent, s.at.Add(-ignoredFor)); n >= leastIgnored {
			s.found = append(s.found, ops.Attention{
				Courier: c.Name, What: fmt.Sprintf("all %d requests that it sent in the last day and that verify were ignored: none became an event", n),
				Do: "see with `appliance rejections list --courier " + c.Name + " --outcome ignored` whether the rules of ignore leave out what is about shipments",
			})
		}
		if quiet, longest := silence(records, deps.About.StartedAt, s.at); quiet > 0 {
			s.found = append(s.found, ops.Attention{
				Courier: c.Name, What: fmt.Sprintf("it has sent nothing for %s; its longest silence before was %s", quiet, longest),
				Do: "see with `appliance rejections list --courier " + c.Name + "` whether its requests are refused, and ask the sender whether its webhook is switched on",
			})
		}
	}
	return s.found
}

// allIgnored returns how many requests were ignored since a time, 0 when any other was
// accepted. records are newest first.
func allIgnored(records []ingestion.Record, since time.Time) (n int64) {
	for _, r := range records {
		switch {
		case r.Until.Before(since):
			return n
		case r.Outcome != ingestion.Ignored:
			return 0
		}
		n += r.Count
	}
	return n
}

// silence returns for how long a courier has been silent while it could be heard, when
// that is twice as long as it ever was, and how long that was. records are those of the
// requests that were accepted, newest first, each for a stretch of time.
func silence(records []ingestion.Record, since, now time.Time) (quiet, longest time.Duration) {
	if len(records) < leastPeriods {
		return 0, 0
	}
	for i, later := range records[:len(records)-1] {
		longest = max(longest, later.At.Sub(records[i+1].Until))
	}
	last := records[0].Until
	if since.After(last) {
		last = since
	}
	if quiet = now.Sub(last); quiet < max(leastSilence, 2*longest) {
		return 0, longest
	}
	return quiet.Round(time.Minute), longest.Round(time.Minute)
}
