package payload

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// small returns a mapping of few members, changed by the given functions.
func small(changes ...func(*Mapping)) Mapping {
	m := Mapping{
		EventID: []string{"{id}"}, ShipmentID: []string{"{data.parcel.number}"},
		Time: TimeMapping{From: []string{"{at}"}}, Status: []string{"{data.status}"},
	}
	for _, change := range changes {
		change(&m)
	}
	return m
}

func TestZeroMappingIsCanonical(t *testing.T) {
	t.Parallel()
	var want event.Event
	DecodeCanonical([]byte(goodBody), &want, nil)
	for name, d := range map[string]*Decoder{"nil": nil, "zero": mustDecoder(t, Mapping{}), "empty lists": mustDecoder(t, Mapping{EventID: []string{}, States: map[shipment.State][]string{}})} {
		var e event.Event
		if faults := d.Decode(Input{Body: []byte(goodBody)}, &e, nil); len(faults) > 0 || !reflect.DeepEqual(e, want) {
			t.Errorf("%s: got %+v and %v, want %+v", name, e, faults, want)
		}
		env := event.Envelope{Body: []byte(goodBody), EventID: "named", Key: "by the envelope"}
		faults := d.DecodeQueued(&env, &e, nil)
		if len(faults) > 0 || e.ID != "named" || e.Key != "by the envelope" || e.ShipmentID != want.ShipmentID {
			t.Errorf("%s, queued: got %+v and %v", name, e, faults)
		}
	}
}

func TestMappedPlaces(t *testing.T) {
	t.Parallel()
	with := func(templates ...string) Mapping {
		return small(func(m *Mapping) { m.EventID = templates })
	}
	const rest = `"at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}}}`
	for _, tc := range []struct {
		name    string
		mapping Mapping
		body    string
		headers headers
		want    string
	}{
		{"member", with("{id}"), `{"id":"a",` + rest, nil, "a"},
		{"from the root", with("{$.id}"), `{"id":"a",` + rest, nil, "a"},
		{"escapes", with("{id}"), `{"i\u0064":"\u0061/\"",` + rest, nil, `a/"`},
		{"integer", with("{id}"), `{"id":9007199254740993,` + rest, nil, "9007199254740993"},
		{"number as it is written", with("{id}"), `{"id":-1.50e+02,` + rest, nil, "-1.50e+02"},
		{"element", with("{ids[1]}"), `{"ids":["a","b","c"],` + rest, nil, "b"},
		{"last element", with("{ids[-1].x}"), `{"ids":[{"x":"a"},{"x":"b","y":[{}]}],` + rest, nil, "b"},
		{"last and first of one element", with("{ids[-1]}+{ids[0]}"), `{"ids":["a"],` + rest, nil, "a+a"},
		{"arrays in arrays", with("{m[1][0]}"), `{"m":[[1],[2,3]],` + rest, nil, "2"},
		{"odd names", with(`{["a.b"]['c]d']["}"].x:y}`), `{"a.b":{"c]d":{"}":{"x:y":"x"}}},` + rest, nil, "x"},
		{"header", with("{header:X-Id}"), `{` + rest, headers{"x-id": "h"}, "h"},
		{"several parts", with("{header:x-id}/{id}:{data.parcel.number}."), `{"id":7,` + rest, headers{"x-id": "h"}, "h/7:n."},
		{"first alternative", with("{id}", "{other}"), `{"other":"o","id":"i",` + rest, nil, "i"},
		{"null is absent", with("{id}", "{other}"), `{"other":"o","id":null,` + rest, nil, "o"},
		{"empty is absent", with("{id}", "{other}"), `{"other":"o","id":"",` + rest, nil, "o"},
		{"a part is absent", with("{id}-{no}", "{id}"), `{"id":"i",` + rest, nil, "i"},
		{"an object where a text is looked for", with("{id}", "{other}"), `{"id":{},"other":"o",` + rest, nil, "o"},
		{"a text that can be no id", with("{id}", "{other}"), `{"id":"a\nb","other":"o",` + rest, nil, "o"},
		{"white space in parts", with("{id}-{other}"), `{"id":" a\n","other":"\to",` + rest, nil, "a-o"},
		{"below null", with("{deep.id}", "{id}"), `{"deep":null,"id":"i",` + rest, nil, "i"},
		{"below a text", with("{deep.id}", "{deep}"), `{"deep":"i",` + rest, nil, "i"},
		{"object or text", with("{deep.id}", "{deep}"), `{"deep":{"id":"i"},` + rest, nil, "i"},
		{"beyond the end", with("{ids[3]}", "{id}"), `{"ids":[],"id":"i",` + rest, nil, "i"},
		{"hash of the body", with("{sha256:body}"), `{` + rest, nil, event.BodyHash([]byte(`{` + rest))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e event.Event
			faults := mustDecoder(t, tc.mapping).Decode(Input{Body: []byte(tc.body), Headers: tc.headers}, &e, nil)
			if len(faults) > 0 || e.ID != tc.want || e.Key != tc.want {
				t.Errorf("got id %q, key %q and faults %v, want %q", e.ID, e.Key, faults, tc.want)
			}
		})
	}
}

func TestMappedRoot(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, Mapping{EventID: []string{"{[0].id}"}, ShipmentID: []string{"{$[0].n}"}, Time: TimeMapping{From: []string{"{[-1].at}"}}})
	var e event.Event
	faults := d.Decode(Input{Body: []byte(` [{"id":1,"n":2},{"at":"2026-03-02T12:00:00Z"}] `)}, &e, nil)
	if len(faults) > 0 || e.ID != "1" || e.ShipmentID != "2" || !e.OccurredAt.Equal(at("2026-03-02T12:00:00Z")) {
		t.Errorf("got %+v and %v", e, faults)
	}
	if got := texts(d.Decode(Input{Body: []byte(`{}`)}, &e, nil)); !slices.Equal(got, []string{"$: must be an array, is an object"}) {
		t.Errorf("an object instead of an array: %v", got)
	}
}

// TestMappedSingle: a body with more shipments than are read is taken, and kept whole as a dead
// letter.
func TestMappedSingle(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, Mapping{
		Key: []string{"{sha256:body}"}, Time: TimeMapping{Received: true}, ShipmentID: []string{"{a.parcels[0].n}"},
		Checkpoints: CheckpointMapping{Path: "a.parcels[0].scans", Time: TimeMapping{From: []string{"{t}"}}},
		Single:      []string{"a.parcels", "a.parcels[0].of"},
	})
	const first = `{"n":"p1","scans":[{"t":"2026-03-02T12:00:00Z"},{"t":"2026-03-03T12:00:00Z"}]`
	for body, want := range map[string][]string{
		`{"a":{"parcels":[` + first + `}]}}`:                      nil,
		`{"a":{"parcels":[` + first + `},null]}}`:                 nil,
		`{"a":{"parcels":[` + first + `,"of":[1]}]}}`:             nil,
		`{"a":{"parcels":[` + first + `},{"n":"p2"}]}}`:           {"a.parcels[1]: is not read: an event is about one shipment, and this is another"},
		`{"a":{"parcels":[` + first + `},{"n":"p2"},{},"x"]}}`:    {"a.parcels[1]: is not read: an event is about one shipment, and this is another"},
		`{"a":{"parcels":[` + first + `,"of":["x",{"y":[1]}]}]}}`: {"a.parcels[0].of[1]: is not read: an event is about one shipment, and this is another"},
	} {
		var e event.Event
		in := Input{Body: []byte(body), Received: at("2026-03-04T12:00:00Z")}
		if faults := d.Decode(in, &e, nil); len(faults) > 0 || e.ShipmentID != "p1" {
			t.Errorf("the intake has %v against %s", faults, body)
		}
		env := &event.Envelope{EventID: e.ID, Key: e.Key, Body: in.Body, ReceivedAt: in.Received}
		if got := texts(d.DecodeQueued(env, &e, nil)); !slices.Equal(got, want) {
			t.Errorf("the worker says of %s\n%v, want\n%v", body, got, want)
		}
	}
	_, err := NewDecoder(Mapping{EventID: []string{"{id}"}, ShipmentID: []string{"{n}"}, Time: TimeMapping{Received: true}, Single: []string{"", "{a}", "a..b"}})
	for _, want := range []string{"single[0]: must be the path", "single[1]: must be the path", `single[2]: "a..b[1]" can't be read`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestMappedSubstatuses: of several the first counts that the table knows.
func TestMappedSubstatuses(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, small(func(m *Mapping) {
		m.Status, m.Substatus = []string{"{s}"}, []string{"{code}", "{urgent}"}
		m.States = map[shipment.State][]string{shipment.InTransit: {"T"}, shipment.AvailableForPickup: {"T/desk"}, shipment.AttemptFailed: {"T/true"}, NoState: {"date", "T/date"}}
	}))
	for more, want := range map[string]shipment.State{
		`"s":"T"`:                                 shipment.InTransit,
		`"s":"T","code":"desk"`:                   shipment.AvailableForPickup,
		`"s":"T","code":"Desk","urgent":true`:     shipment.AvailableForPickup,
		`"s":"T","code":"lost","urgent":true`:     shipment.AttemptFailed,
		`"s":"T","code":"lost","urgent":false`:    shipment.InTransit,
		`"s":"T","code":null,"urgent":true`:       shipment.AttemptFailed,
		`"s":"other","code":"desk","urgent":true`: shipment.Unknown,
		`"s":"date"`:                              "", // it says nothing of where the parcel is
		`"s":"T","code":"date"`:                   "",
	} {
		var e event.Event
		body := `{"id":"a","at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}},` + more + `}`
		if faults := d.Decode(Input{Body: []byte(body)}, &e, nil); len(faults) > 0 || e.State != want {
			t.Errorf("%s: state %q and faults %v, want %q", more, e.State, faults, want)
		}
	}
}

func TestMappedFaults(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxIDBytes+1)
	joined := func(m *Mapping) { m.EventID, m.Key = []string{"{header:x-id}"}, []string{"{id}:{n}"} }
	pushed := func(m *Mapping) {
		m.Time = TimeMapping{}
		m.Checkpoints = CheckpointMapping{Path: "data.log", Time: TimeMapping{From: []string{"{t}"}}, Status: []string{"{s.code}"}}
	}
	const good = `"at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}}`
	for _, tc := range []struct {
		name    string
		mapping Mapping
		body    string
		want    []string
	}{
		{"no object", small(), `[]`, []string{"$: must be an object, is an array"}},
		{"no JSON", small(), `{"id":1,`, []string{"$: is not valid JSON: expected a member name in double quotes at byte 8, where the body ends"}},
		{"more behind", small(), `{} 1`, []string{"$: is not valid JSON: expected the end of the body at byte 3"}},
		{"syntax hides the rest", small(), `{"id":[],"id":1,"at":tru}`, []string{"$: is not valid JSON: expected 'true' at byte 21"}},
		{"everything missing", small(), `{}`, []string{"id: is missing", "at: is missing", "data.parcel.number: is missing"}},
		{"wrong above", small(), `{"id":"a","at":"2026-03-02T12:00:00Z","data":[]}`, []string{"data: must be an object, is an array"}},
		{"wrong further above", small(), `{"id":"a","at":"2026-03-02T12:00:00Z","data":{"parcel":"p\n"}}`, []string{"data.parcel: must be an object, is a string"}},
		{"wrong types", small(), `{"id":true,"at":{},"data":{"parcel":{"number":[1]},"status":[]}}`, []string{
			"id: must be a string or a number, is a boolean", "data.status: must be a string, a number or a boolean, is an array",
			"at: must be a string or a number, is an object", "data.parcel.number: must be a string or a number, is an array"}},
		{"empty", small(), `{"id":"","at":"","data":{"parcel":{"number":""}}}`, []string{
			"id: must not be empty", "at: must not be empty", "data.parcel.number: must not be empty"}},
		{"rules of texts", small(), `{"id":"` + long + `","at":"2026-03-02","data":{"parcel":{"number":"n\tn"},"status":"a\tb"}}`, []string{
			"id: must not be longer than 256 bytes", "at: must be a time of the form rfc3339",
			"data.parcel.number: must not hold control characters"}},
		{"year", small(), `{"id":"a","at":"1969-12-31T23:59:59Z","data":{"parcel":{"number":"n"}}}`, []string{"at: must be in the years 1970 to 2261"}},
		{"far ahead", small(), `{"id":"a","at":"9999-12-31T23:59:59Z","data":{"parcel":{"number":"n"}}}`, nil},
		{"half a surrogate pair where nothing is read", small(), `{"id":"a","note":"\ud83d",` + good + `}`, nil},
		{"half a surrogate pair in what is read", small(), `{"id":"\ud83d",` + good + `}`, []string{"id: must not hold " + halfPair}},
		{"half a surrogate pair in what can be missing", small(func(m *Mapping) { m.OrderID = []string{"{order}"} }), `{"id":"a","order":"\udce6",` + good + `}`, nil},
		{"byte order mark", small(), "\ufeff" + `{"id":"a",` + good + `}`, nil},
		{"doubled member", small(), `{"id":"a","id":"b",` + good + `}`, []string{"id: " + doubled}},
		{"tripled, reported once", small(), `{"id":"a","id":[],"id":"b",` + good + `}`, []string{"id: " + doubled}},
		{"doubled above", small(), `{"id":"a","data":{"parcel":{"number":"x"}},` + good + `}`, []string{"data: " + doubled}},
		{"doubled by an escape", small(), `{"id":"a","\u0069d":"b",` + good + `}`, []string{"id: " + doubled}},
		{"doubled where nothing is read", small(), `{"id":"a","x":1,"x":2,` + good + `}`, nil},
		{"every alternative missing", small(func(m *Mapping) { m.EventID = []string{"{a.b}", "{c}-{d}", "{header:x-id}"} }), `{` + good + `}`,
			[]string{"a.b: is missing, and so is c+d, header:x-id"}},
		{"alternatives that are wrong", small(func(m *Mapping) { m.EventID = []string{"{no}", "{id}", "{n}"} }), `{"id":{},"n":[],` + good + `}`,
			[]string{"id: must be a string or a number, is an object"}},
		{"an alternative that is empty", small(func(m *Mapping) { m.EventID = []string{"{no}", "{id}", "{header:x-id}-{id}"} }), `{"id":"",` + good + `}`,
			[]string{"id: must not be empty"}},
		{"an empty part", small(func(m *Mapping) { m.EventID = []string{"{id}-{n}"} }), `{"id":1,"n":"",` + good + `}`, []string{"n: must not be empty"}},
		{"header missing", small(joined), `{"id":1,"n":2,` + good + `}`, []string{"header:x-id: is missing"}},
		{"parts missing", small(joined), `{` + good + `}`, []string{"header:x-id: is missing", "id: is missing", "n: is missing"}},
		{"parts too long", small(func(m *Mapping) { m.EventID = []string{"{id}:{n}"} }), `{"id":"` + long[1:] + `","n":2,` + good + `}`,
			[]string{"id+n: must not be longer than 256 bytes"}},
		{"checkpoints that are none", small(pushed), `{"id":"a","data":{"parcel":{"number":"n"},"log":{}}}`,
			[]string{"data.log: must be an array, is an object"}},
		{"no checkpoint", small(pushed), `{"id":"a","data":{"parcel":{"number":"n"},"log":[null]}}`, []string{"data.log: has no time"}},
		{"faults in checkpoints", small(pushed),
			`{"id":"a","data":{"parcel":{"number":"n"},"log":[{"t":"2026-03-02T12:00:00Z","s":{"code":{}}},5,{"t":"x"},{"t":[]},{"s":1},{"t":"2026-03-02T12:00:00Z","s":{"code":1,"code":2}}]}}`,
			[]string{"data.log[0].s.code: must be a string, a number or a boolean, is an object", "data.log[1]: must be an object, is a number",
				"data.log[2].t: must be a time of the form rfc3339", "data.log[3].t: must be a string or a number, is an array", "data.log[5].s.code: " + doubled}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e event.Event
			got := mustDecoder(t, tc.mapping).Decode(Input{Body: []byte(tc.body)}, &e, event.Faults{{Path: "kept"}})
			if len(got) == 0 || got[0].Path != "kept" || !slices.Equal(texts(got[1:]), tc.want) {
				t.Errorf("got faults\n  %s\nwant\n  %s", strings.Join(texts(got), "\n  "), strings.Join(tc.want, "\n  "))
			}
		})
	}
}

// TestMappedLeavesOut: what an event can do without and can't be read is left out, and
// named. The rest counts.
func TestMappedLeavesOut(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, Mapping{
		EventID: []string{"{id}"}, ShipmentID: []string{"{number}"}, OrderID: []string{"{order}"}, Type: []string{"{kind}", "{type}"},
		Status: []string{"{status}"}, Substatus: []string{"{sub}", "{more}"},
		States:      map[shipment.State][]string{shipment.InTransit: {"T"}, shipment.AvailableForPickup: {"T/desk"}, shipment.Delivered: {"D"}},
		Time:        TimeMapping{From: []string{"{at}", "{other}"}, Formats: []string{"iso8601"}, Received: true},
		Checkpoints: CheckpointMapping{Path: "log", Time: TimeMapping{From: []string{"{t}", "{u}"}}, Status: []string{"{s}"}, Substatus: []string{"{sub}"}},
	})
	noon, later := at("2026-03-02T12:00:00Z"), at("2026-03-02T13:00:00Z")
	const kind, when = `"kind":"k",`, `"at":"2026-03-02T12:00:00Z",`
	for _, tc := range []struct {
		name, body string
		state      shipment.State
		at         time.Time
		moments    int
		want       []string
	}{
		{"a blank time", kind + `"status":"D","at":" ","other":"2026-03-02T12:00:00Z"`, shipment.Delivered, noon, 0, nil},
		{"no time at all", kind + `"status":"D"`, shipment.Delivered, received, 0, nil},
		{"a zero date", kind + `"status":"D","at":"0000-00-00 00:00:00"`, shipment.Delivered, received, 0,
			[]string{"at: must be a time of the form iso8601"}},
		{"an early year and another time", kind + `"status":"D","at":"0001-01-01T00:00:00Z","other":"2026-03-02T12:00:00Z"`, shipment.Delivered, noon, 0,
			[]string{"at: must be in the years 1970 to 2261"}},
		{"a time of another type", kind + `"status":"D","at":{}`, shipment.Delivered, received, 0, []string{"at: must be a string or a number, is an object"}},
		{"the end of a day", kind + `"status":"D","at":"2026-03-02T24:00:00+12:00"`, shipment.Delivered, noon, 0, nil},
		{"no type", when + `"status":"D"`, shipment.Delivered, noon, 0, []string{"kind: is missing, and so is type"}},
		{"a type that is none", when + `"kind":[],"status":"D"`, shipment.Delivered, noon, 0, []string{"kind: must be a string or a number, is an array"}},
		{"an order that is none", kind + when + `"status":"D","order":{}`, shipment.Delivered, noon, 0, []string{"order: must be a string or a number, is an object"}},
		{"a substatus that is none", kind + when + `"status":"T","sub":{},"more":"desk"`, shipment.AvailableForPickup, noon, 0,
			[]string{"sub: must be a string, a number or a boolean, is an object"}},
		{"no checkpoints", kind + when + `"status":"D","log":[]`, shipment.Delivered, noon, 0, nil},
		{"checkpoints that are an object", kind + when + `"status":"D","log":{}`, shipment.Delivered, noon, 0, []string{"log: must be an array, is an object"}},
		{"checkpoints that are a text", kind + when + `"status":"D","log":""`, shipment.Delivered, noon, 0, []string{"log: must be an array, is a string"}},
		{"a status that is none, with a history", kind + `"status":[],"log":[{"t":"2026-03-02T13:00:00Z","s":"D"}]`, shipment.Delivered, later, 1,
			[]string{"status: must be a string, a number or a boolean, is an array"}},
		{"elements that are none", kind + when + `"status":"D","log":["x",null,3,{"t":"2026-03-02T12:00:00Z","s":"D"}]`, shipment.Delivered, noon, 1,
			[]string{"log[0]: must be an object, is a string", "log[2]: must be an object, is a number"}},
		{"times of elements", kind + when + `"status":"D","log":[{"t":"0001-01-01T00:00:00Z","s":"T"},{"t":"soon","u":"2026-03-02T11:00:00Z","s":"T"},{"t":"","s":"T"},{"t":"2026-03-02T12:00:00Z","s":"D"}]`,
			shipment.Delivered, noon, 2, []string{"log[0].t: must be in the years 1970 to 2261", "log[1].t: must be a time of the form rfc3339"}},
		{"a status of an element", kind + when + `"status":"D","log":[{"t":"2026-03-02T11:00:00Z","s":[1]},{"t":"2026-03-02T12:00:00Z","s":"D"}]`, shipment.Delivered, noon, 1,
			[]string{"log[0].s: must be a string, a number or a boolean, is an array"}},
		{"a substatus of an element", kind + when + `"status":"D","log":[{"t":"2026-03-02T11:00:00Z","s":"T","sub":[]},{"t":"2026-03-02T12:00:00Z","s":"D"}]`, shipment.Delivered, noon, 2,
			[]string{"log[0].sub: must be a string, a number or a boolean, is an array"}},
		{"a member twice in an element", kind + when + `"status":"D","log":[{"t":"2026-03-02T11:00:00Z","s":"T","s":"D"},{"t":"2026-03-02T12:00:00Z","s":"D"}]`, shipment.Delivered, noon, 1,
			[]string{"log[0].s: appears more than once, and readers disagree on which counts (RFC 8259, section 4)"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(`{"id":"a","number":"n",` + tc.body + `}`)
			var e event.Event
			faults := d.Decode(Input{Body: body, Received: received}, &e, nil)
			if len(faults) > 0 || e.State != tc.state || !e.OccurredAt.Equal(tc.at) || len(e.Checkpoints) != tc.moments || !slices.Equal(texts(e.LeftOut), tc.want) {
				t.Errorf("got %+v and %v, want %s at %v with %d checkpoints, without %v", e, faults, tc.state, tc.at, tc.moments, tc.want)
			}
		})
	}
}

// TestMappedTextsAreTrimmed: and what an event can do without is no reason to refuse
// it.
func TestMappedTextsAreTrimmed(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, small(func(m *Mapping) { m.OrderID, m.Source = []string{"{order}"}, []string{"{from}"} }))
	for _, tc := range []struct{ order, from, wantOrder, wantFrom string }{
		{`" Order 12\n"`, `" x "`, "Order 12", "x"},
		{`"a\tb"`, `["x"]`, "", ""},
		{`{}`, `"` + strings.Repeat("x", MaxIDBytes+1) + `"`, "", ""},
		{`" "`, `""`, "", ""},
		{`null`, `null`, "", ""},
	} {
		var e event.Event
		body := `{"id":" a ","order":` + tc.order + `,"from":` + tc.from + `,"at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n "}}}`
		faults := d.Decode(Input{Body: []byte(body)}, &e, nil)
		if len(faults) > 0 || e.ID != "a" || e.ShipmentID != "n" || e.OrderID != tc.wantOrder || e.Source != tc.wantFrom {
			t.Errorf("%s gives %+v and %v", body, e, faults)
		}
	}
}

func TestMappedFaultsAndCheckpointsAreBounded(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, pushMapping)
	body := func(element string, n int) []byte {
		return []byte(`{"id":"p","number":"n","date":"20260226","time":"120000","history":[` + strings.Repeat(element+",", n-1) + element + `]}`)
	}
	var e event.Event
	if faults := d.Decode(Input{Body: body(`1`, MaxCheckpoints)}, &e, event.Faults{{Path: "kept"}}); len(faults) != 1 || len(e.LeftOut) != maxLeftOut {
		t.Errorf("%d faults and %d left out, want 1 and %d", len(faults), len(e.LeftOut), maxLeftOut)
	}
	if faults := d.Decode(Input{Body: body(`{"at":"2026-02-26"}`, MaxCheckpoints)}, &e, nil); len(faults) > 0 || len(e.Checkpoints) != MaxCheckpoints {
		t.Errorf("%d checkpoints are refused: %v", len(e.Checkpoints), faults)
	}
	crowd := []string{"history: holds more than 1000 checkpoints, of which the later ones count"}
	for name, order := range map[string]func(i int) int{"oldest first": func(i int) int { return i }, "newest first": func(i int) int { return 1499 - i }} {
		var elements []string
		for i := range 1500 {
			elements = append(elements, `{"at":"`+time.Date(2020, 1, 1+order(i), 0, 0, 0, 0, time.UTC).Format(time.RFC3339)+`"}`)
		}
		faults := d.Decode(Input{Body: body(strings.Join(elements, ","), 1)}, &e, nil)
		oldest := slices.MinFunc(e.Checkpoints, func(a, b event.Moment) int { return a.At.Compare(b.At) })
		if len(faults) > 0 || !slices.Equal(texts(e.LeftOut), crowd) || len(e.Checkpoints) != MaxCheckpoints || !oldest.At.Equal(time.Date(2020, 1, 501, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %v, left out %v, %d checkpoints from %v on", name, faults, e.LeftOut, len(e.Checkpoints), oldest.At)
		}
	}
}

// manyHeaders has each header twice, or with bytes that are no UTF-8.
type manyHeaders struct{ count int }

func (h manyHeaders) Header(string) ([]byte, int) { return []byte("a\xff"), h.count }

func TestDoubtfulHeadersAreFaults(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, small(func(m *Mapping) { m.EventID = []string{"{header:x-id}", "{id}"} }))
	for count := 1; count <= 2; count++ {
		var e event.Event
		faults := d.Decode(Input{Body: []byte(`{"id":1,"at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}}}`), Headers: manyHeaders{count}}, &e, nil)
		if got := texts(faults); !slices.Equal(got, []string{"header:x-id: must be there once, in UTF-8"}) {
			t.Errorf("%d headers: %v", count, got)
		}
	}
}

func TestQueuedEventNeedsNoIdentityOfItsOwn(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, small(func(m *Mapping) { m.EventID, m.Key = []string{"{header:x-id}"}, []string{"{id}"} }))
	env := event.Envelope{EventID: "e", Key: "k", Body: []byte(`{"at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}}}`)}
	var e event.Event
	if faults := d.DecodeQueued(&env, &e, nil); len(faults) > 0 || e.ID != "e" || e.Key != "k" || e.ShipmentID != "n" || e.Type != DefaultType {
		t.Errorf("got %+v and %v", e, faults)
	}
	env.Body = []byte(`{"at":"2026-03-02T12:00:00Z","data":{}}`)
	if got := texts(d.DecodeQueued(&env, &e, nil)); !slices.Equal(got, []string{"data.parcel.number: is missing"}) {
		t.Errorf("faults %v", got)
	}
}

func TestMappedStatus(t *testing.T) {
	t.Parallel()
	table := func(m *Mapping) {
		m.Substatus = []string{"{data.sub}"}
		m.States = map[shipment.State][]string{
			shipment.InTransit: {"In Transit", "Größe"}, shipment.AttemptFailed: {"in transit/TRUE", "in transit/3"}, shipment.Delivered: {" 45 "}, shipment.Exception: {"no"},
		}
	}
	for _, tc := range []struct {
		members string
		mapping Mapping
		status  string
		state   shipment.State
	}{
		{`"status":"In Transit"`, small(table), "In Transit", shipment.InTransit},
		{`"status":" iN tRANSIT "`, small(table), "iN tRANSIT", shipment.InTransit},
		{`"status":"GRÖßE"`, small(table), "GRÖßE", shipment.InTransit},
		{`"status":"in transit","sub":true`, small(table), "in transit", shipment.AttemptFailed},
		{`"status":"in transit","sub":3`, small(table), "in transit", shipment.AttemptFailed},
		{`"status":"in transit","sub":"unheard of"`, small(table), "in transit", shipment.InTransit},
		{`"status":45`, small(table), "45", shipment.Delivered},
		{`"status":"delivered"`, small(table), "delivered", shipment.Unknown}, // only the table counts
		{`"status":"` + strings.Repeat("x", 200) + `"`, small(table), strings.Repeat("x", 200), shipment.Unknown},
		{`"status":"In\r\nTransit\u0085"`, small(table), "In  Transit", shipment.Unknown}, // line breaks become spaces
		{`"status":"In\tTransit"`, small(table), "In Transit", shipment.InTransit},
		{`"status":"\n"`, small(table), "", ""},
		{`"status":null`, small(table), "", ""},
		{`"status":""`, small(table), "", ""},
		{`"x":1`, small(table), "", ""},
		{`"status":"Out-for delivery"`, small(), "Out-for delivery", shipment.OutForDelivery}, // no table: our own words
		{`"status":"teleported"`, small(), "teleported", shipment.Unknown},
	} {
		var e event.Event
		body := `{"id":"a","at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"},` + tc.members + `}}`
		faults := mustDecoder(t, tc.mapping).Decode(Input{Body: []byte(body)}, &e, nil)
		if len(faults) > 0 || e.Status != tc.status || e.State != tc.state {
			t.Errorf("%s: got %q, %q and %v, want %q, %q", tc.members, e.Status, e.State, faults, tc.status, tc.state)
		}
	}
}

func TestCheckpointsAndTheEventsOwnStatus(t *testing.T) {
	t.Parallel()
	mapping := Mapping{
		EventID: []string{"{id}"}, ShipmentID: []string{"{n}"}, Time: TimeMapping{From: []string{"{at}"}, Received: true}, Status: []string{"{status}"},
		States:      map[shipment.State][]string{shipment.InTransit: {"moving"}, shipment.Delivered: {"done"}, shipment.Expired: {"gone"}},
		Checkpoints: CheckpointMapping{Path: "log", Time: TimeMapping{From: []string{"{t}"}, Formats: []string{"unix"}}, Status: []string{"{s}"}},
	}
	one, two, noon := at("2001-09-09T01:46:40Z"), at("2001-09-09T01:46:41Z"), at("2026-03-02T12:00:00Z")
	for _, tc := range []struct {
		name, members string
		want          event.Event // but for id and number
	}{
		{"none", `"at":"2026-03-02T12:00:00Z","status":"moving","log":[]`, event.Event{OccurredAt: noon, Status: "moving", State: shipment.InTransit}},
		{"null", `"status":"moving","log":null`, event.Event{OccurredAt: received, Status: "moving", State: shipment.InTransit}},
		{"time and status are those of the newest", `"log":[{"t":1000000001,"s":"done"},{"t":1000000000,"s":"moving"},{"t":1000000001,"s":"moving"},{"t":1000000001}]`, event.Event{
			OccurredAt: two, Status: "done", State: shipment.Delivered,
			Checkpoints: []event.Moment{moment(two, shipment.Delivered, "done"), moment(one, shipment.InTransit, "moving"), moment(two, shipment.InTransit, "moving"), moment(two, "", "")}}},
		{"a late scan hides no end", `"log":[{"t":1000000001,"s":"moving"},{"t":1000000000,"s":"done"}]`, event.Event{
			OccurredAt: one, Status: "done", State: shipment.Delivered,
			Checkpoints: []event.Moment{moment(two, shipment.InTransit, "moving"), moment(one, shipment.Delivered, "done")}}},
		{"one after two days is another journey", `"log":[{"t":1000172800,"s":"moving"},{"t":1000000000,"s":"done"}]`, event.Event{
			OccurredAt: one.Add(48 * time.Hour), Status: "moving", State: shipment.InTransit,
			Checkpoints: []event.Moment{moment(one.Add(48*time.Hour), shipment.InTransit, "moving"), moment(one, shipment.Delivered, "done")}}},
		{"the same status is not added twice", `"at":"2026-03-02T12:00:00Z","status":"moving","log":[{"t":1000000000,"s":"moving"}]`, event.Event{
			OccurredAt: noon, Status: "moving", State: shipment.InTransit, Checkpoints: []event.Moment{moment(one, shipment.InTransit, "moving")}}},
		{"another status stays beside it", `"at":"2026-03-02T12:00:00Z","status":"gone","log":[{"t":1000000000,"s":"moving"}]`, event.Event{
			OccurredAt: noon, Status: "gone", State: shipment.Expired, Checkpoints: []event.Moment{moment(one, shipment.InTransit, "moving")}}},
		{"and so does an unknown one", `"at":"2026-03-02T12:00:00Z","status":"odd","log":[{"t":1000000000,"s":"moving"}]`, event.Event{
			OccurredAt: noon, Status: "odd", State: shipment.Unknown, Checkpoints: []event.Moment{moment(one, shipment.InTransit, "moving")}}},
		{"elements without a time are left out", `"status":"moving","log":[{"s":"done"},null,{"t":null},{"t":""}]`, event.Event{
			OccurredAt: received, Status: "moving", State: shipment.InTransit}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e event.Event
			faults := mustDecoder(t, mapping).Decode(Input{Body: []byte(`{"id":"a","n":"n",` + tc.members + `}`), Received: received.Add(700 * time.Millisecond)}, &e, nil)
			tc.want.ID, tc.want.Key, tc.want.ShipmentID, tc.want.Type = "a", "a", "n", DefaultType
			if len(e.Checkpoints) == 0 {
				e.Checkpoints = nil
			}
			if len(faults) > 0 || !reflect.DeepEqual(e, tc.want) {
				t.Errorf("got %+v\nand %v, want\n%+v", e, faults, tc.want)
			}
		})
	}
}

func TestCheckpointsBesideOtherPathsOfTheirArray(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, Mapping{
		EventID: []string{"{log[0].id}-{log[-1].id}"}, ShipmentID: []string{"{log[1].n.x}"},
		Checkpoints: CheckpointMapping{Path: "log", Time: TimeMapping{From: []string{"{t[0]}", "{t[-1]}"}, Formats: []string{"unix"}}, Status: []string{"{n.x}"}},
	})
	var e event.Event
	body := `{"log":[{"id":1,"t":[1000000000],"n":{"x":"a"}},{"id":2,"t":[null,1000000001],"n":{"x":"b"}},{"t":[1000000002],"id":3}]}`
	faults := d.Decode(Input{Body: []byte(body)}, &e, nil)
	if len(faults) > 0 || e.ID != "1-3" || e.ShipmentID != "b" || len(e.Checkpoints) != 3 || e.Checkpoints[1].Status != "b" || e.Checkpoints[2].Status != "" {
		t.Errorf("got %+v and %v", e, faults)
	}
}

func TestMappedEventSharesTheBody(t *testing.T) {
	t.Parallel()
	d := mustDecoder(t, pushMapping)
	body := []byte(pushBody)
	var e event.Event
	if faults := d.Decode(Input{Body: body}, &e, nil); len(faults) > 0 {
		t.Fatal(faults)
	}
	kept, checkpoints := e.Clone(), e.Checkpoints
	copy(body[bytes.Index(body, []byte("shp_")):], "xyz_")
	copy(body[bytes.Index(body, []byte("InTransit")):], "OnTransit")
	if e.ShipmentID != "xyz_456" || kept.ShipmentID != "shp_456" || e.Checkpoints[0].Status != "OnTransit" || kept.Checkpoints[0].Status != "InTransit" {
		t.Errorf("after a change of the body the event says %+v, its clone %+v", e, kept)
	}
	d.Decode(Input{Body: []byte(pushBody)}, &e, nil)
	if &checkpoints[0] != &e.Checkpoints[0] || &kept.Checkpoints[0] == &e.Checkpoints[0] {
		t.Error("the array of checkpoints is not used again, or the clone shares it")
	}
}
