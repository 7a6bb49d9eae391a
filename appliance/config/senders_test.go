package config_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// TestPresetsReadTheirSenders signs each sender's requests as the sender does,
// verifies them, and reads them at intake and again from the queue.
func TestPresetsReadTheirSenders(t *testing.T) {
	for name, p := range sendertest.Presets(t) {
		scheme, decoder := sendertest.Compile(t, &p.Courier, 0)
		stranger, _ := sendertest.Compile(t, &p.Courier, 1)
		for _, c := range sendertest.Cases(t, name) {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				r := c.Signed(t, name, scheme, sendertest.SignedAt)
				if id, err := scheme.Verify(r, sendertest.SignedAt); err != nil || id != "key-1" {
					t.Fatalf("verified by %q, %v", id, err)
				}
				if id, err := stranger.Verify(r, sendertest.SignedAt); err == nil {
					t.Errorf("another secret verifies it, as %q", id)
				}
				var e event.Event
				in := payload.Input{Body: r.RawBody, Headers: r, Received: sendertest.SignedAt}
				if faults := decoder.Decode(in, &e, nil); len(faults) > 0 {
					t.Fatalf("faults: %v", faults)
				}
				sendertest.CheckEvent(t, e, r.RawBody, sendertest.SignedAt, c.Want)
				env := &event.Envelope{EventID: e.ID, Key: e.Key, ReceivedAt: sendertest.SignedAt, Body: r.RawBody}
				var queued event.Event
				if faults := decoder.DecodeQueued(env, &queued, nil); len(faults) > 0 {
					t.Fatalf("faults in the queue: %v", faults)
				}
				sendertest.CheckEvent(t, queued, r.RawBody, sendertest.SignedAt, c.Want)
			})
		}
	}
}

// TestPresetsIgnoreTheRest: what a sender posts besides is ignored, and only once it is
// verified. A preset that ignores anything has a request that is.
func TestPresetsIgnoreTheRest(t *testing.T) {
	for name, p := range sendertest.Presets(t) {
		scheme, decoder := sendertest.Compile(t, &p.Courier, 0)
		cases := sendertest.IgnoredCases(t, name)
		if (len(cases) > 0) != (len(p.Courier.Event.Ignore) > 0) {
			t.Errorf("%s ignores %v, and has %d requests that are ignored", name, p.Courier.Event.Ignore, len(cases))
		}
		for _, c := range cases {
			r := c.Signed(t, name, scheme, sendertest.SignedAt)
			if _, err := scheme.Verify(r, sendertest.SignedAt); err != nil {
				t.Errorf("%s, %s: %v", name, c.Name, err)
			}
			var e event.Event
			faults := decoder.Decode(payload.Input{Body: r.RawBody, Headers: r, Received: sendertest.SignedAt}, &e, nil)
			if len(faults) > 0 || e.Ignored == "" {
				t.Errorf("%s, %s: %+v, %v", name, c.Name, e, faults)
			}
		}
	}
}

// FuzzPresets lets every preset read any body: what it takes is JSON and names an
// event and a shipment.
func FuzzPresets(f *testing.F) {
	decoders := map[string]*payload.Decoder{}
	for name, p := range sendertest.Presets(f) {
		_, decoders[name] = sendertest.Compile(f, &p.Courier, 0)
		for _, c := range sendertest.Cases(f, name) {
			f.Add([]byte(c.Body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		for name, d := range decoders {
			var e event.Event
			faults := d.Decode(payload.Input{Body: body, Headers: &sendertest.Request{}, Received: sendertest.SignedAt}, &e, nil)
			switch {
			case !bytes.Equal(body, before):
				t.Fatalf("%s changed the body", name)
			case len(faults) > 0:
			case e.Ignored != "" && json.Valid(body):
			case !json.Valid(body) || e.ID == "" || e.Key == "" || e.Type == "" || e.ShipmentID == "" || e.OccurredAt.IsZero():
				t.Errorf("%s reads %q as %+v", name, body, e)
			}
		}
	})
}

// TestPresetsAreComplete holds what people read of a preset against what it does.
func TestPresetsAreComplete(t *testing.T) {
	presets := sendertest.Presets(t)
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			if !event.ValidCourier(name) || p.CourierName != "" && !event.ValidCourier(p.CourierName) {
				t.Errorf("%q or %q can't name a courier", name, p.CourierName)
			}
			for key, text := range map[string]string{
				"about": p.About, "setup": p.Setup, "expects": p.Expects,
				"verified.signature.against": p.Verified.Signature.Against, "verified.states.against": p.Verified.States.Against,
			} {
				if text == "" || strings.ContainsAny(text, "\n|") {
					t.Errorf("%s is %q, must be one line without a bar", key, text)
				}
			}
			for key, day := range map[string]string{"verified.signature.on": p.Verified.Signature.On, "verified.states.on": p.Verified.States.On} {
				if _, err := time.Parse(time.DateOnly, day); err != nil {
					t.Errorf("%s has to be a day: %v", key, err)
				}
			}
			if !strings.HasPrefix(p.Docs, "https://") {
				t.Errorf("docs is %q", p.Docs)
			}
			if needs := p.Courier.JWKS == ""; needs != (p.Secret != "") {
				t.Errorf("secret is %q, and that it needs one is %v", p.Secret, needs)
			}
			wanted := map[bool]int{true: 200, false: 202}[regexp.MustCompile(`\b200\b`).MatchString(p.Expects)]
			if s := p.Courier.SuccessStatus; s != wanted {
				t.Errorf("success_status is %d, and the sender expects %s", s, p.Expects)
			}
			for _, a := range p.Addresses {
				_, errAddress := netip.ParseAddr(a)
				if _, err := netip.ParsePrefix(a); err != nil && errAddress != nil {
					t.Errorf("addresses: %v, %v", err, errAddress)
				}
			}
			example := slices.IndexFunc(sendertest.Cases(t, name), func(c sendertest.Case) bool { return c.Path == "" && c.Query == "" })
			for _, at := range sendertest.Cases(t, name)[example].Want.Checkpoints {
				if at.State == shipment.Unknown {
					t.Errorf("the example that `send --sample` posts ends as an unmapped status: %q", at.Status)
				}
			}
			states := map[bool]int{}
			for _, c := range sendertest.Cases(t, name) {
				states[c.Want.State == shipment.Unknown]++
			}
			if states[true] == 0 || states[false] == 0 {
				t.Errorf("%d requests with an unknown state and %d others, want some of each", states[true], states[false])
			}
		})
	}
	files := sendertest.Names(t)
	if names := slices.Sorted(maps.Keys(presets)); !slices.Equal(files, names) {
		t.Errorf("there are presets\n%v\nand requests of\n%v", names, files)
	}
}

// TestIgnoreRulesLookAtWhatIsSigned: who repeats a signed event with something else changed
// can't have it ignored.
func TestIgnoreRulesLookAtWhatIsSigned(t *testing.T) {
	for name, p := range sendertest.Presets(t) {
		scheme, _ := sendertest.Compile(t, &p.Courier, 0)
		binding := scheme.Binding()
		signed := func(template string) bool {
			place := strings.Trim(template, "{}")
			if header, ok := strings.CutPrefix(place, "header:"); ok {
				return slices.Contains(scheme.Headers(), header)
			}
			return binding.Body || slices.ContainsFunc(binding.Members, func(m string) bool { return strings.HasPrefix(place, m+".") })
		}
		if !binding.Body && len(binding.Members) == 0 {
			continue // nothing is
		}
		for i, rule := range p.Courier.Event.Ignore {
			places := p.Courier.Event.Type
			if rule.At != "" {
				places = []string{rule.At}
			}
			if slices.ContainsFunc(places, func(at string) bool { return !signed(at) }) && (rule.Without == "" || !signed(rule.Without)) {
				t.Errorf("%s ignores by %v, which is not signed, and %q keeps nothing from it (rule %d)", name, places, rule.Without, i)
			}
		}
	}
}

// TestKeysAreSigned: who repeats a signed request with something else changed makes no
// other event of it.
func TestKeysAreSigned(t *testing.T) {
	placeholder := regexp.MustCompile(`\{(header:)?([^}]*)\}`)
	for name, p := range sendertest.Presets(t) {
		scheme, _ := sendertest.Compile(t, &p.Courier, 0)
		binding := scheme.Binding()
		if !binding.Body && len(binding.Members) == 0 {
			continue // nothing is
		}
		key := p.Courier.Event.Key
		if len(key) == 0 {
			key = p.Courier.Event.EventID
		}
		for _, m := range placeholder.FindAllStringSubmatch(strings.Join(key, " "), -1) {
			signed := binding.Body || slices.Contains(p.Courier.Timestamp.Names, m[2]) ||
				slices.ContainsFunc(binding.Members, func(member string) bool { return strings.HasPrefix(m[2], member+".") })
			if m[1] != "" {
				signed = slices.Contains(scheme.Headers(), strings.ToLower(m[2]))
			}
			if !signed {
				t.Errorf("%s names its events by %s, which is not signed", name, m[0])
			}
		}
	}
}

func TestUnsignedIDs(t *testing.T) {
	presets := sendertest.Presets(t)
	for name, id := range map[string]string{"github": "{header:X-Event}:{id}", "shipbob": "{header:webhook-id}", "easypost": "{id}"} {
		p := presets[name]
		scheme, _ := sendertest.Compile(t, &p.Courier, 0)
		p.Courier.Event.Key = []string{"{id}", id}
		want := map[string]string{"github": "x-event"}[name]
		if got := p.Courier.UnsignedID(scheme); got != want {
			t.Errorf("%s named by %s: %q is not signed, want %q", name, id, got, want)
		}
	}
}

// TestUnknownStatusesHaveTheirDetail: a status and its detail are what has to be listed, and
// once they are the mapping knows them.
func TestUnknownStatusesHaveTheirDetail(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"ups":       {`{"trackingNumber":"1Z","activityStatus":{"type":"D","code":"ZZ","description":"Somewhere"}}`, "D/ZZ"},
		"delhivery": {`{"Shipment":{"AWB":"1","Status":{"Status":" Undelivered ","StatusType":"UD"}}}`, "UD/Undelivered"},
		"shipbob":   {`{"status":"CustomsHeld","tracking":{"tracking_id":"1"}}`, "CustomsHeld"},
	} {
		p := sendertest.Presets(t)[name]
		for _, listed := range []bool{false, true} {
			p.Courier.Event.States = maps.Clone(p.Courier.Event.States)
			if listed {
				p.Courier.Event.States[shipment.Expired] = []string{tt.want}
			}
			_, decoder := sendertest.Compile(t, &p.Courier, 0)
			var e event.Event
			if faults := decoder.DecodeQueued(&event.Envelope{EventID: "e", Key: "k", ReceivedAt: sendertest.SignedAt, Body: []byte(tt.body)}, &e, nil); len(faults) > 0 {
				t.Fatalf("%s: %v", name, faults)
			}
			if full := event.FullStatus(e.Status, e.Substatus); !listed && (e.State != shipment.Unknown || full != tt.want) {
				t.Errorf("%s reads it as %s, %q, want %q", name, e.State, full, tt.want)
			}
			if listed && (e.State != shipment.Expired || e.Substatus != "") {
				t.Errorf("%s reads it as %s with %q, once it is listed", name, e.State, e.Substatus)
			}
			if got := decoder.Mapped(tt.want, false); got != listed {
				t.Errorf("%s: %q is known: %v, and that it is listed %v", name, tt.want, got, listed)
			}
		}
	}
}

// TestOrderIDsAreOneID: an order id that a push has from another place opens a leg after a
// delivery, as another order does. Alternatives are one member in several envelopes.
func TestOrderIDsAreOneID(t *testing.T) {
	member := func(template string) string {
		return strings.Trim(template[strings.LastIndexAny(template, "{.")+1:], "}")
	}
	for name, p := range sendertest.Presets(t) {
		members := map[string]bool{}
		for _, place := range p.Courier.Event.OrderID {
			members[member(place)] = true
		}
		if len(members) > 1 || members["metadata"] {
			t.Errorf("%s takes its order ids from %v: two different ids, or a text for people, pass for another order", name, p.Courier.Event.OrderID)
		}
	}
}

// TestPresetsOfOnePayloadAgree keeps the mappings alike of those who send the same
// payload and prove it in different ways.
func TestPresetsOfOnePayloadAgree(t *testing.T) {
	presets := sendertest.Presets(t)
	for twin, name := range map[string]string{
		"shippo-token": "shippo", "easypost-v2": "easypost", "shipstation": "shipengine", "ups-v2": "ups", "svix": "standard-webhooks",
	} {
		if !reflect.DeepEqual(presets[twin].Courier.Event, presets[name].Courier.Event) {
			t.Errorf("%s and %s read the same payload in different ways", twin, name)
		}
	}
}
