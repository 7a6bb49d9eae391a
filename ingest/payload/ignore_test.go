package payload

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestMappedIgnore(t *testing.T) {
	t.Parallel()
	with := func(rules ...IgnoreRule) Mapping {
		return small(func(m *Mapping) { m.Type, m.Ignore = []string{"{kind}", "{type}"}, rules })
	}
	const parcel = `"id":"a","at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}}`
	moved := with(IgnoreRule{IsNot: []string{"parcel.moved", "label.*"}})
	for _, tc := range []struct {
		name    string
		mapping Mapping
		body    string
		reason  string // "" for an event, which is read
		faults  []string
	}{
		{"another type", moved, `{"kind":"driver.assigned"}`, `ignore[0]: the event type is none of "parcel.moved", "label.*"`, nil},
		{"another type at its other place, with a number for an id", moved, `{"type":"WALLET","id":{}}`, `ignore[0]: the event type is none of "parcel.moved", "label.*"`, nil},
		{"a type of the list", moved, `{"kind":" Parcel.Moved",` + parcel + `}`, "", nil},
		{"a type that begins like one of the list", moved, `{"kind":"label.made",` + parcel + `}`, "", nil},
		{"no type", moved, `{` + parcel + `}`, "", nil},
		{"no type, and no shipment", moved, `{"id":1,"at":"2026-03-02T12:00:00Z"}`, "", []string{"data.parcel.number: is missing"}},
		{"a type of the list, and no shipment", moved, `{"kind":"parcel.moved","id":1,"at":"2026-03-02T12:00:00Z"}`, "", []string{"data.parcel.number: is missing"}},
		{"a type that is none", moved, `{"kind":["driver"],"id":1,"at":"2026-03-02T12:00:00Z"}`, "", []string{"data.parcel.number: is missing"}},
		{"two types", moved, `{"kind":"driver","kind":"parcel.moved",` + parcel + `}`, "", []string{"kind: appears more than once, and readers disagree on which counts (RFC 8259, section 4)"}},
		{"no JSON", moved, `{"kind":"driver",}`, "", []string{"$: is not valid JSON: expected a member name in double quotes at byte 17"}},
		{"no object", moved, `["driver"]`, "", []string{"$: must be an object, is an array"}},
		{"one type", with(IgnoreRule{Is: []string{"ping"}}), `{"kind":"PING"}`, `ignore[0]: the event type is "ping"`, nil},
		{"none but that one", with(IgnoreRule{Is: []string{"ping"}}), `{"kind":"pings",` + parcel + `}`, "", nil},
		{"something there", with(IgnoreRule{At: "{wallet.balance}"}), `{"wallet":{"balance":{"x":1}}}`, "ignore[0]: {wallet.balance} is there", nil},
		{"nothing there", with(IgnoreRule{At: "{wallet.balance}"}), `{"wallet":{"balance":null},` + parcel + `}`, "", nil},
		{"absent", with(IgnoreRule{At: "{data}", Absent: true}), `{"data":null}`, "ignore[0]: {data} is not there", nil},
		{"not absent", with(IgnoreRule{At: "{data}", Absent: true}), `{` + parcel + `}`, "", nil},
		{"a value", with(IgnoreRule{At: "{x}", Is: []string{"1"}}, IgnoreRule{At: "{test}", Is: []string{"true"}}), `{"x":2,"test":true}`, `ignore[1]: {test} is "true"`, nil},
		{"a header", with(IgnoreRule{At: "{header:X-Topic}", IsNot: []string{"moved"}}), `{}`, `ignore[0]: {header:X-Topic} is not "moved"`, nil},
		{"a header, and the member of events is not there", with(IgnoreRule{At: "{header:X-Topic}", IsNot: []string{"moved"}, Without: "{data}"}), `{"data":null}`,
			`ignore[0]: {header:X-Topic} is not "moved", and {data} is not there`, nil},
		{"a header, and the member of events is there", with(IgnoreRule{At: "{header:X-Topic}", IsNot: []string{"moved"}, Without: "{data}"}), `{` + parcel + `}`, "", nil},
		{"canonical", Mapping{Ignore: []IgnoreRule{{Is: []string{"a", "b", "c", "driver.*", "e"}}}}, `{"eventType":"driver.left"}`,
			`ignore[0]: the event type is one of "a", "b", "c", "driver.*", …`, nil},
		{"canonical, and read", Mapping{Ignore: []IgnoreRule{{Is: []string{"driver.*"}}}}, goodBody, "", nil},
		{"canonical, and refused", Mapping{Ignore: []IgnoreRule{{Is: []string{"driver.*"}}}}, strings.Replace(goodBody, "eventId", "id", 1), "", []string{"eventId: is missing"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := mustDecoder(t, tc.mapping)
			var e event.Event
			faults := d.Decode(Input{Body: []byte(tc.body), Headers: headers{"x-topic": "orders"}}, &e, event.Faults{{Path: "kept"}})
			if e.Ignored != tc.reason || !slices.Equal(texts(faults[1:]), tc.faults) || tc.reason == "" && tc.faults == nil && e.ShipmentID == "" {
				t.Errorf("got %q and %v, want %q and %v", e.Ignored, faults, tc.reason, tc.faults)
			}
			env := event.Envelope{EventID: "e", Key: "k", Body: []byte(tc.body)}
			if queued := d.DecodeQueued(&env, &e, nil); e.Ignored != "" || tc.reason != "" && len(queued) == 0 {
				t.Errorf("from the queue it is %+v, with %v", e, queued)
			}
		})
	}
}

func TestIgnoreRulesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := NewDecoder(small(func(m *Mapping) {
		m.Ignore = []IgnoreRule{{Is: []string{"a"}}, {At: "{x}", Is: []string{"a"}, IsNot: []string{"b"}}, {At: "{x}", Absent: true, Is: []string{" "}}, {At: "{sha256:body}"}, {At: "x"}}
	}))
	_, typed := NewDecoder(small(func(m *Mapping) {
		m.Type, m.Ignore = []string{"{kind}"}, []IgnoreRule{{}, {Absent: true}, {Is: []string{}}, {At: "{x}", IsNot: []string{}}, {At: "{x}", Without: "y"}}
	}))
	const all = "needs is or is_not, or the place that it is about: otherwise it is about every event"
	if got, want := typed.Error(), "ignore[0]: "+all+"; ignore[1]: "+all+"; ignore[2]: "+all+"; ignore[2]: has an empty list; ignore[3]: has an empty list; "+
		`ignore[4].without: "y" is the same for every event; a member is named as in {id}; ignore[4].without: must be one member, as in {id}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	faults, _ := errors.AsType[event.Faults](err)
	if want := []string{
		"ignore[0].at: is needed, because the event type is the same for every event", "ignore[1]: has more than one of is, is_not and absent",
		"ignore[2].is[0]: must not be empty", "ignore[2]: has more than one of is, is_not and absent", "ignore[3].at: can't be the hash of the body",
		`ignore[4].at: "x" is the same for every event; a member is named as in {id}`,
	}; !slices.Equal(texts(faults), want) {
		t.Errorf("got\n%s, want\n%s", strings.Join(texts(faults), "\n"), strings.Join(want, "\n"))
	}
}
