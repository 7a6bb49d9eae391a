package journey

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// noon is when every test begins.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at returns a time after noon: "10m", "-8h", "3d".
func at(after string) time.Time {
	if days, ok := strings.CutSuffix(after, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			panic(err)
		}
		return noon.AddDate(0, 0, n)
	}
	d, err := time.ParseDuration(after)
	if err != nil {
		panic(err)
	}
	return noon.Add(d)
}

// read splits "status time", where both may be "-" for none, and so may an order be that
// follows.
func read(text string) (status string, when time.Time, order string) {
	f := append(strings.Fields(text), "-", "-")
	status, order = strings.Trim(f[0], "-"), strings.Trim(f[2], "-")
	return status, at(f[1]), order
}

// says is an event with a status, a time and perhaps an order, named after the three.
func says(text string) Report {
	status, when, order := read(text)
	return Report{Event: event.Event{
		ID: "evt " + text, Key: text, Type: "shipment.status.updated", OccurredAt: when, ShipmentID: "s", Status: status, OrderID: order,
	}}
}

// pushes is an event with a history.
func pushes(key, now string, scans ...string) Report {
	r := says(now)
	r.Key = key
	if r.Status != "" {
		r.State = shipment.ParseState(r.Status)
	}
	var newest event.Moment
	for _, s := range scans {
		m := event.Moment{}
		if m.Status, m.At, _ = read(s); m.Status != "" {
			m.State = shipment.ParseState(m.Status)
		}
		r.Checkpoints = append(r.Checkpoints, m)
		if m.State != "" && cmp.Or(m.At.Compare(newest.At), cmp.Compare(m.State.Rank(), newest.State.Rank())) > 0 {
			newest = m
		}
	}
	if r.State == "" { // as package payload has it
		r.Status, r.State = newest.Status, newest.State
	}
	return r
}

// inAnyOrder applies reports in many orders, each of them twice, and returns the
// shipment that all of them lead to.
func inAnyOrder(t *testing.T, reports []Report) shipment.Shipment {
	t.Helper()
	var first *shipment.Shipment
	for range 30 {
		s := &shipment.Shipment{Ref: shipment.Ref{Courier: "demo", ID: "s"}}
		for _, i := range rand.Perm(2 * len(reports)) {
			r := reports[i/2]
			r.Event = r.Clone()
			Apply(s, r, noon)
		}
		if first == nil {
			first = s
		} else if !reflect.DeepEqual(s, first) {
			t.Fatalf("another order of arrival gave\n%s, not\n%s", asJSON(t, s), asJSON(t, first))
		}
	}
	return *first
}

// TestWhatMovesAShipment is the table of the package, by what real couriers send.
func TestWhatMovesAShipment(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sent  string // events, with commas between
		state shipment.State
		raw   string
		leg   int
		order string
	}{
		{"in order", "pending 0m, in_transit 1m, delivered 2m", shipment.Delivered, "delivered", 1, ""},
		{"rank breaks ties", "delivered 1m, in_transit 1m", shipment.Delivered, "delivered", 1, ""},
		{"two ends at one instant are one journey", "returned 1m, delivered 1m", shipment.Delivered, "delivered", 1, ""},
		{"the courier's spelling", "In-Transit 1m, Out-For-Delivery 2m", shipment.OutForDelivery, "Out-For-Delivery", 1, ""},
		{"no status, no change", "in_transit 0m, - 1m", shipment.InTransit, "in_transit", 1, ""},

		{"not mapped, and nothing else is known", "teleported 1m, beamed 2m", shipment.Unknown, "beamed", 1, ""},
		{"not mapped, on the way", "in_transit 0m, teleported 1m", shipment.InTransit, "teleported", 1, ""},
		{"not mapped, between", "in_transit 0m, teleported 1m, out_for_delivery 2m", shipment.OutForDelivery, "out_for_delivery", 1, ""},
		{"not mapped, before the first that is", "teleported 0m, in_transit 1m", shipment.InTransit, "in_transit", 1, ""},
		{"not mapped, after the end", "delivered 0m, photo_taken 1m", shipment.Delivered, "photo_taken", 1, ""},
		{"not mapped, days after the end", "delivered 0m, photo_taken 9d", shipment.Delivered, "photo_taken", 1, ""},

		{"a depot scan some minutes after the delivery", "delivered 0m, in_transit 10m", shipment.Delivered, "delivered", 1, ""},
		{"the van's list at the end of its shift", "delivered 0m, out_for_delivery 7h, attempt_failed 8h", shipment.Delivered, "delivered", 1, ""},
		{"scans after a Saturday's delivery", "delivered 0m, in_transit 40h", shipment.Delivered, "delivered", 1, ""},
		{"late scans do not add up", "delivered 0m, in_transit 20h, in_transit 40h", shipment.Delivered, "delivered", 1, ""},
		{"delivered twice, the second time with the signature", "delivered 0m, delivered 3d", shipment.Delivered, "delivered", 1, ""},
		{"a scan after the second time", "delivered 0m, delivered 3d, in_transit 73h", shipment.Delivered, "delivered", 1, ""},
		{"delivered by mistake, then returned", "delivered 0m, returned 5h", shipment.Returned, "returned", 1, ""},
		{"cancelled, but the driver was there already", "cancelled 0m, delivered 20m", shipment.Delivered, "delivered", 1, ""},
		{"a driver's position after the order was cancelled", "cancelled 0m, in_transit 5m", shipment.Cancelled, "cancelled", 1, ""},
		{"the tracker expires after the delivery", "delivered 0m, expired 30d", shipment.Delivered, "delivered", 1, ""},
		{"the label is cancelled after the delivery", "delivered 0m, cancelled 3d", shipment.Delivered, "delivered", 1, ""},
		{"found again after the tracker gave up", "in_transit 0m, expired 30d, in_transit 31d", shipment.InTransit, "in_transit", 1, ""},

		{"sent back days later", "in_transit -2h, delivered 0m, in_transit 2d, returned 3d", shipment.Returned, "returned", 2, ""},
		{"the number is used again", "delivered 0m, info_received 1h, in_transit 2h", shipment.InTransit, "in_transit", 2, ""},
		{"the number is used again, after a return", "delivered 0m, returned 5h, pending 30d, info_received 31d", shipment.InfoReceived, "info_received", 2, ""},
		{"the tracker has no data any more", "in_transit 0m, pending 1d", shipment.InTransit, "in_transit", 1, ""},
		{"it has none before the first scan, of an earlier time", "pending 0m, in_transit -1h", shipment.InTransit, "in_transit", 1, ""},
		{"it has none months after the delivery", "delivered 0m, pending 100d", shipment.Delivered, "delivered", 1, ""},
		{"it has none after it gave up", "expired 0m, pending 1d", shipment.Expired, "expired", 1, ""},
		{"it has none of another order yet", "delivered 0m A, pending 1d B", shipment.Pending, "pending", 2, "B"},
		{"the driver declines", "pending 0m, info_received 1m, pending 2m", shipment.Pending, "pending", 1, ""},
		{"the cancellation is taken back", "cancelled 0m, pending 1h", shipment.Pending, "pending", 2, ""},
		{"another order", "delivered 0m A, in_transit 10m B", shipment.InTransit, "in_transit", 2, "B"},
		{"another order, delivered too", "delivered 0m A, delivered 10m B", shipment.Delivered, "delivered", 2, "B"},
		{"the same order", "delivered 0m A, in_transit 10m A", shipment.Delivered, "delivered", 1, "A"},

		{"the newest order that moves it", "in_transit 0m A, out_for_delivery 1m B", shipment.OutForDelivery, "out_for_delivery", 1, "B"},
		{"an order without a status", "in_transit 0m A, - 1m B", shipment.InTransit, "in_transit", 1, "A"},
		{"an order with a status that is not mapped", "in_transit 0m A, weighed 1m B", shipment.InTransit, "weighed", 1, "A"},
		{"an order with the delivery once more", "delivered 0m A, delivered 0m -, photo_taken 1m B", shipment.Delivered, "photo_taken", 1, "A"},
		{"an order where there was none", "in_transit 0m, - 1m B", shipment.InTransit, "in_transit", 1, "B"},
		{"an order with something older", "in_transit 5m A, pending 1m B", shipment.InTransit, "in_transit", 1, "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent []Report
			for text := range strings.SplitSeq(tt.sent, ", ") {
				sent = append(sent, says(text))
			}
			s := inAnyOrder(t, sent)
			if s.State != tt.state || s.RawStatus != tt.raw || s.Leg != tt.leg || s.OrderID != tt.order || len(s.History) != len(sent) {
				t.Errorf("%s (%q), leg %d, order %q, %d checkpoints; want %s (%q), %d, %q, %d", s.State, s.RawStatus, s.Leg, s.OrderID,
					len(s.History), tt.state, tt.raw, tt.leg, tt.order, len(sent))
			}
		})
	}
}

// shown lists the history that people see, as "status after".
func shown(s shipment.Shipment) string {
	var all []string
	for _, c := range s.Shown().History {
		all = append(all, cmp.Or(c.Status, "-")+" "+c.At.Sub(noon).String())
	}
	return strings.Join(all, ", ")
}

// TestWhatAPushSaysNow: the present wins over the history that comes with it.
func TestWhatAPushSaysNow(t *testing.T) {
	late := []string{"in_transit 70m", "out_for_delivery 3h"} // in the depot's local time
	for _, tt := range []struct {
		name    string
		sent    []Report
		state   shipment.State
		raw     string
		leg     int
		history string
	}{
		{"its newest scan", []Report{pushes("a", "- 1h", "pending 0m", "in_transit 1m")}, shipment.InTransit, "in_transit", 1, "pending 0s, in_transit 1m0s"},
		{"scans that are dated ahead", []Report{pushes("a", "delivered 2m", late...)}, shipment.Delivered, "delivered", 1,
			"delivered 2m0s, in_transit 1h10m0s, out_for_delivery 3h0m0s"},
		{"a push before it, about the same scans", []Report{pushes("a", "out_for_delivery 1m", late...), pushes("b", "delivered 2m", late...)},
			shipment.Delivered, "delivered", 1, "delivered 2m0s, in_transit 1h10m0s, out_for_delivery 3h0m0s"},
		{"a scan of local time does not hold the state", []Report{pushes("a", "in_transit 0m", "in_transit 8h"), says("delivered 1h")},
			shipment.Delivered, "delivered", 1, "delivered 1h0m0s, in_transit 8h0m0s"},
		{"a scan behind the delivery", []Report{pushes("a", "Delivered 1h", "Delivered 0m", "Delivered 0m", "InTransit 30m")},
			shipment.Delivered, "Delivered", 1, "Delivered 0s, InTransit 30m0s, Delivered 1h0m0s"},
		{"the tracker follows that scan", []Report{pushes("a", "delivered 5m", "delivered 0m"), pushes("b", "in_transit 3d", "delivered 0m", "in_transit 10m")},
			shipment.Delivered, "delivered", 1, "delivered 0s, in_transit 10m0s"},
		{"the same, in other words", []Report{pushes("a", "in_transit 5m", "In-Transit 0m")}, shipment.InTransit, "in_transit", 1, "In-Transit 0s"},
		{"no longer than its own history", []Report{pushes("a", "expired 30d", "in_transit 0m")}, shipment.Expired, "expired", 1, "in_transit 0s, expired 720h0m0s"},
		{"a status that is not mapped", []Report{pushes("a", "RTO_OFD 5m", "in_transit 0m")}, shipment.InTransit, "RTO_OFD", 1, "in_transit 0s, RTO_OFD 5m0s"},
		{"not mapped, and an older push", []Report{pushes("a", "RTO_OFD 5m", "in_transit 0m"), pushes("b", "out_for_delivery 3m", "in_transit 0m")},
			shipment.InTransit, "RTO_OFD", 1, "in_transit 0s, out_for_delivery 3m0s, RTO_OFD 5m0s"},
		{"nothing is mapped", []Report{pushes("a", "RTO_OFD 5m", "RTO_SCAN 0m")}, shipment.Unknown, "RTO_OFD", 1, "RTO_SCAN 0s, RTO_OFD 5m0s"},
		{"not mapped, in both", []Report{pushes("a", "RTO_OFD 5m", "in_transit -1m", "RTO_OFD 0m")}, shipment.InTransit, "RTO_OFD", 1, "in_transit -1m0s, RTO_OFD 0s"},
		{"two scans at its instant", []Report{pushes("a", "in_transit 0m", "in_transit 0m", "out_for_delivery 0m")}, shipment.InTransit, "in_transit", 1,
			"in_transit 0s, out_for_delivery 0s"},
		{"the end at its instant, in a scan", []Report{pushes("a", "returned 0m", "delivered 0m", "in_transit -1m")}, shipment.Returned, "returned", 1,
			"in_transit -1m0s, returned 0s, delivered 0s"},
		{"not mapped, and a scan that is dated ahead", received(noon, pushes("a", "RTO_OFD 0m", "out_for_delivery -1h", "in_transit 10h")),
			shipment.OutForDelivery, "RTO_OFD", 1, "out_for_delivery -1h0m0s, RTO_OFD 0s, in_transit 10h0m0s"},
		{"not mapped, and an end in local time", received(noon, pushes("a", "RTO_OFD 0m", "out_for_delivery -1h", "delivered 10h")),
			shipment.Delivered, "RTO_OFD", 1, "out_for_delivery -1h0m0s, RTO_OFD 0s, delivered 10h0m0s"},
		{"repeated under other keys", []Report{pushes("b", "- 1m", "pending 0m", "in_transit 1m"), pushes("a", "- 1m", "pending 0m", "in_transit 1m")},
			shipment.InTransit, "in_transit", 1, "pending 0s, in_transit 1m0s"},
		{"growing, and back days later", []Report{
			pushes("a", "- 0m", "pending 0m"), pushes("b", "- 1m", "in_transit 1m", "pending 0m"), pushes("c", "- 2m", "delivered 2m", "in_transit 1m", "pending 0m"),
			pushes("d", "- 5d", "in_transit 5d", "delivered 2m", "in_transit 1m", "pending 0m"),
		}, shipment.InTransit, "in_transit", 2, "pending 0s, in_transit 1m0s, delivered 2m0s, in_transit 120h0m0s"},
		{"beside events without a history", []Report{says("in_transit 1m"), pushes("a", "- 1m", "pending 0m", "in_transit 1m"), says("delivered 4m")},
			shipment.Delivered, "delivered", 1, "pending 0s, in_transit 1m0s, delivered 4m0s"},
		{"a scan without a status", []Report{pushes("a", "- 2m", "in_transit 1m", "- 2m"), pushes("b", "- 2m", "- 2m")}, shipment.InTransit, "in_transit", 1, "in_transit 1m0s, - 2m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := inAnyOrder(t, tt.sent)
			if s.State != tt.state || s.RawStatus != tt.raw || s.Leg != tt.leg || shown(s) != tt.history {
				t.Errorf("%s (%q), leg %d, %s\nwant %s (%q), %d, %s", s.State, s.RawStatus, s.Leg, shown(s), tt.state, tt.raw, tt.leg, tt.history)
			}
		})
	}
}

// received says when reports were received, and that a day ahead is believed.
func received(when time.Time, reports ...Report) []Report {
	for i := range reports {
		reports[i].ReceivedAt, reports[i].MaxAhead = when, 24*time.Hour
	}
	return reports
}

// TestTimesThatAreNotBelieved count as the receipt, and hold no state.
func TestTimesThatAreNotBelieved(t *testing.T) {
	far := time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC)
	ahead := says("in_transit 0m")
	ahead.OccurredAt = far
	scan := pushes("push", "- 0m", "pending -1h")
	scan.Checkpoints = append(scan.Checkpoints, event.Moment{At: far, State: shipment.InTransit, Status: "in_transit"})
	unset := says("in_transit 0m")
	unset.OccurredAt = time.Unix(0, 0)
	for _, tt := range []struct {
		name  string
		sent  []Report
		state shipment.State
		times map[string]time.Time // claimed, by "status after"
	}{
		{"ahead", append(received(at("1m"), ahead), received(at("2m"), says("delivered 2m"))...), shipment.Delivered,
			map[string]time.Time{"in_transit 1m0s": far, "delivered 2m0s": {}}},
		{"ahead, and news of the same second", append(received(at("1m500ms"), ahead), received(at("61s"), says("out_for_delivery 1m"))...), shipment.OutForDelivery,
			map[string]time.Time{"in_transit 1m0s": far, "out_for_delivery 1m0s": {}}},
		{"a day ahead is believed", received(noon, says("in_transit 24h"), says("out_for_delivery 1h")), shipment.InTransit,
			map[string]time.Time{"out_for_delivery 1h0m0s": {}, "in_transit 24h0m0s": {}}},
		{"a little more is not", received(noon, says("in_transit 24h1ns"), says("delivered 1h")), shipment.Delivered,
			map[string]time.Time{"delivered 1h0m0s": {}, "in_transit 0s": at("24h1ns")}},
		{"a scan ahead, in two pushes", append(received(at("1m"), scan), received(at("5m"), pushes("later", "delivered 5m", "pending -1h"), func() Report {
			r := scan
			r.Key = "again"
			return r
		}())...), shipment.Delivered, map[string]time.Time{"pending -1h0m0s": {}, "in_transit 1m0s": far, "delivered 5m0s": {}}},
		{"a clock that was never set", append(received(at("3m"), unset), received(at("2m"), says("pending 2m"))...), shipment.InTransit,
			map[string]time.Time{"pending 2m0s": {}, "in_transit 3m0s": time.Unix(0, 0).UTC()}},
		{"late by years", received(noon, says("in_transit -90000h"), says("info_received -1m")), shipment.InfoReceived,
			map[string]time.Time{"in_transit -90000h0m0s": {}, "info_received -1m0s": {}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := inAnyOrder(t, tt.sent)
			got := map[string]time.Time{}
			for _, c := range s.Shown().History {
				got[c.Status+" "+c.At.Sub(noon).String()] = c.ClaimedAt
			}
			if s.State != tt.state || !reflect.DeepEqual(got, tt.times) {
				t.Errorf("%s, %v; want %s, %v", s.State, got, tt.state, tt.times)
			}
		})
	}
}

// randomReports are events of one shipment, of every kind: plain ones and pushes, about few
// moments, some of which lie too far ahead, with few orders.
func randomReports() []Report {
	words := []string{"-", "pending", "in_transit", "In-Transit", "out_for_delivery", "delivered", "returned", "cancelled", "expired", "teleported", "beamed"}
	times := []string{"0m", "1m", "2m", "50h", "90h", "9000h"}
	word := func() string { return words[rand.IntN(len(words))] + " " + times[rand.IntN(len(times))] }
	reports := make([]Report, 1+rand.IntN(6))
	for i := range reports {
		key := "key " + strconv.Itoa(i)
		if rand.IntN(3) == 0 {
			reports[i] = says(word() + " " + []string{"-", "A", "B"}[rand.IntN(3)])
			reports[i].Key = key
		} else {
			scans := make([]string, 1+rand.IntN(5))
			for k := range scans {
				scans[k] = word()
			}
			reports[i] = pushes(key, word(), scans...)
		}
		received(noon.Add(time.Duration(rand.IntN(100))*time.Hour), reports[i:i+1]...)
	}
	return reports
}

func TestAnyEventsInAnyOrderLeadToOneShipment(t *testing.T) {
	for range 500 {
		reports := randomReports()
		said := map[[2]string]bool{} // status and claimed time
		for _, r := range reports {
			for _, m := range r.Checkpoints {
				said[[2]string{m.Status, m.At.String()}] = true
			}
			if len(r.Checkpoints) == 0 || r.Status != "" {
				said[[2]string{r.Status, r.OccurredAt.String()}] = true
			}
		}
		s := inAnyOrder(t, reports)
		for _, c := range s.History {
			delete(said, [2]string{c.Status, claim(c).String()})
		}
		if len(said) > 0 {
			t.Fatalf("%v was said and is not in the history of\n%+v", said, s)
		}
	}
}

// TestScansSayInOnePushWhatTheySayInSeveral: the end of a journey, other journeys and late
// scans are told apart in a history as they are among events.
func TestScansSayInOnePushWhatTheySayInSeveral(t *testing.T) {
	words := []string{"info_received", "in_transit", "out_for_delivery", "delivered", "returned"}
	for range 2000 {
		scans, several, one := make([]string, 1+rand.IntN(5)), &shipment.Shipment{}, &shipment.Shipment{}
		for i := range scans {
			scans[i] = words[rand.IntN(len(words))] + " " + strconv.Itoa(-12*rand.IntN(20)) + "h"
			Apply(several, received(noon, says(scans[i]))[0], noon)
		}
		Apply(one, received(noon, pushes("push", "not_mapped 0m", scans...))[0], noon)
		if one.State != several.State {
			t.Fatalf("%q: %s in one push, %s in several", scans, one.State, several.State)
		}
	}
}

func TestMappedStateCountsBeforeOurOwnWords(t *testing.T) {
	r := says("delivered 1m")
	r.State = shipment.Exception // what this sender means by the word
	s := inAnyOrder(t, []Report{r})
	if s.State != shipment.Exception || s.RawStatus != "delivered" {
		t.Errorf("state %q, raw %q", s.State, s.RawStatus)
	}
}

// TestShipmentsOfAnEarlierBuild have scans only; what they say holds until a newer event says
// something else.
func TestShipmentsOfAnEarlierBuild(t *testing.T) {
	stored := shipment.Shipment{
		State: shipment.Delivered, RawStatus: "delivered", EventTime: noon, LastEvent: "a", Leg: 1, OrderID: "A", History: []shipment.Checkpoint{
			{At: at("-1h"), State: shipment.InTransit, Status: "in_transit", Key: "a"}, {At: noon, State: shipment.Delivered, Status: "delivered", Key: "a"},
		},
	}
	for _, tt := range []struct {
		r     Report
		state shipment.State
	}{
		{pushes("b", "in_transit 10m", "delivered 0m", "in_transit 10m"), shipment.Delivered},
		{says("- 1h"), shipment.Delivered},
		{says("in_transit 3d"), shipment.InTransit},
	} {
		s := stored
		s.History = slices.Clone(stored.History)
		Apply(&s, tt.r, noon)
		if s.State != tt.state || s.OrderID != "A" || !strings.HasPrefix(shown(s), "in_transit -1h0m0s, delivered 0s") {
			t.Errorf("after %s it is %s of order %q, %s", tt.r.Key, s.State, s.OrderID, shown(s))
		}
	}
	right := pushes("a", "returned 1m", "in_transit -1h", "delivered 0m")
	if s := Rebuild(stored, map[string]bool{"a": true}, []Report{right}, noon); s.State != shipment.Returned {
		t.Errorf("rebuilt of the event that it has it is %s, %s", s.State, shown(s))
	}
	if s := Rebuild(stored, map[string]bool{"z": true}, nil, noon); Changed(stored, s) && s.State != shipment.Delivered {
		t.Errorf("rebuilt of none of its events it is %s, %s", s.State, shown(s))
	}
}

func TestPushLongerThanTheHistory(t *testing.T) {
	all := []string{"delivered 0m"}
	for i := range maxHistory + 9 {
		all = append(all, "in_transit "+strconv.Itoa(i+1)+"m")
	}
	s := &shipment.Shipment{}
	for i := range 3 {
		Apply(s, pushes("push", "in_transit 600m", all...), noon)
		if len(s.History) != maxHistory || s.Dropped != 11 || s.State != shipment.InTransit {
			t.Fatalf("after %d pushes: %d checkpoints, %d dropped, %s; want %d, 11", i+1, len(s.History), s.Dropped, s.State, maxHistory)
		}
	}
}

func TestShipmentHistoryIsBounded(t *testing.T) {
	s := &shipment.Shipment{}
	Apply(s, says("delivered 0m"), noon)
	for i := range maxHistory + 10 {
		Apply(s, says("in_transit "+strconv.Itoa(72+i)+"h"), noon)
	}
	if len(s.History) != maxHistory || s.Dropped != 11 || s.Leg != 2 || s.History[0].State != shipment.Delivered {
		t.Errorf("%d checkpoints, %d dropped, leg %d; want %d, 11, 2", len(s.History), s.Dropped, s.Leg, maxHistory)
	}
}

// TestWhatMovesNothingGoesFirst: a full history keeps what its state is made of.
func TestWhatMovesNothingGoesFirst(t *testing.T) {
	for _, tt := range []struct {
		name, first, more string // the latter comes each minute
		state             shipment.State
		leg               int
	}{
		{"a status that is not mapped", "in_transit -1h, out_for_delivery 0m", "location_ping", shipment.OutForDelivery, 1},
		{"no status", "in_transit -1h, out_for_delivery 0m", "-", shipment.OutForDelivery, 1},
		{"the same status", "delivered -3h, info_received -2h, in_transit -1h", "in_transit", shipment.InTransit, 2},
		{"states that change all the time", "delivered -3h, info_received -2h", "in_transit out_for_delivery", shipment.InTransit, 2},
	} {
		s := &shipment.Shipment{}
		for text := range strings.SplitSeq(tt.first, ", ") {
			Apply(s, says(text), noon)
		}
		words := strings.Fields(tt.more)
		for i := range maxHistory + 5 {
			Apply(s, says(words[i%len(words)]+" "+strconv.Itoa(i+1)+"m"), noon)
		}
		if s.State != tt.state || s.Leg != tt.leg || len(s.History) != maxHistory || s.Dropped == 0 {
			t.Errorf("%s: %s, leg %d, %d checkpoints, %d dropped; want %s, leg %d", tt.name, s.State, s.Leg, len(s.History), s.Dropped, tt.state, tt.leg)
		}
	}
}

// TestMixedShipmentOfAnEarlierBuild: some of its pushes had no scan, and its last one only has
// scans. Statuses that are not mapped were the first at their instant.
func TestMixedShipmentOfAnEarlierBuild(t *testing.T) {
	s := shipment.Shipment{
		State: shipment.Delivered, RawStatus: "delivered", EventTime: noon, LastEvent: "b", Leg: 1, History: []shipment.Checkpoint{
			{At: at("-2h"), State: shipment.InfoReceived, Status: "pre_transit", Key: "a", Type: "tracker.created"},
			{At: at("-1h"), State: shipment.Unknown, Status: "scanned", Key: "b"}, {At: at("-1h"), State: shipment.InTransit, Status: "in_transit", Key: "b"},
			{At: noon, State: shipment.Delivered, Status: "delivered", Key: "b"},
		},
	}
	Apply(&s, says("photo_taken 1h"), noon)
	if s.State != shipment.Delivered || s.RawStatus != "photo_taken" || len(s.History) != 6 || !slices.IsSortedFunc(s.History, compareCheckpoints) {
		t.Errorf("%s (%q), %s", s.State, s.RawStatus, shown(s))
	}
	Apply(&s, says("returned 2h"), noon)
	if s.State != shipment.Returned || s.LastEvent != "returned 2h" || len(s.History) != 7 {
		t.Errorf("%s, %s", s.State, shown(s))
	}
}

func TestUnmapped(t *testing.T) {
	r := pushes("a", "RTO_OFD 5m", "in_transit 0m", "RTO_SCAN 1m", "RTO_OFD 2m", "- 3m")
	none := func(string, bool) bool { return false }
	if got := Unmapped(r.Event, none); !slices.Equal(got, []string{"RTO_SCAN", "RTO_OFD"}) {
		t.Errorf("%q", got)
	}
	if got := Unmapped(says("delivered 0m").Event, none); got != nil {
		t.Errorf("%q of a status that is known", got)
	}
	r.Substatus = "1"
	r.Checkpoints[1].Substatus = "2"
	scans := func(status string, scan bool) bool { return scan && status != "RTO_SCAN/2" }
	if got := Unmapped(r.Event, scans); !slices.Equal(got, []string{"RTO_OFD/1", "RTO_SCAN/2"}) {
		t.Errorf("%q with details, the words of scans but one known", got)
	}
}
