package payload

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/fincart/courier-gateway/ingest/event"
)

// FuzzMappedDecode decodes any body by mappings of each shape: what is accepted is
// JSON, the body stays as it was, and a body without faults reads as encoding/json
// reads it.
func FuzzMappedDecode(f *testing.F) {
	ignoring := likeCanonical
	ignoring.Ignore = []IgnoreRule{{IsNot: []string{"shipment.*"}}, {At: "{data.events[0]}", Is: []string{"x"}}, {At: "{header:x}", Absent: true, Without: "{data}"}}
	mappings := []Mapping{likeCanonical, unixMapping, pushMapping, ignoring, {Ignore: ignoring.Ignore}}
	for _, s := range shapes {
		mappings = append(mappings, s.mapping)
		f.Add([]byte(s.body))
	}
	for _, body := range []string{
		likeBody, unixBody, pushBody, `{}`, `[]`, ``, `0=`, `payload=%7B%22id%22%3A1%7D`, `{"id":"\ud83d`, `{"data":{"events":[{"occurred_at":1},[],null,{"occurred_at":"\u0032"}]}}`,
		`{"history":[{"at":"2026-02-26","at":1}],"history":{}}`, `{"tasks":[{"id":1},{"id":{}}]}`,
		`{"kind":"k","parcel":{"carrier":"c","number":" 00\u00a0","note":"\t1 "}}`, `{"kind":"k","parcel":{"carrier":"c","number":"1","note":" "}}`, strings.Repeat(`{"data":`, 70),
	} {
		f.Add([]byte(body))
	}
	decoders := make([]*Decoder, len(mappings))
	for i, m := range mappings {
		decoders[i] = mustDecoder(f, m)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		for i, d := range decoders {
			var e event.Event
			faults := d.Decode(Input{Body: body, Headers: fuzzHeader{}, Received: received}, &e, nil)
			if !bytes.Equal(body, before) {
				t.Fatal("Decode changed the body")
			}
			checkMapped(t, mappings[i], body, e, faults)
		}
	})
}

// fuzzHeader has every header.
type fuzzHeader struct{}

func (fuzzHeader) Header(name string) ([]byte, int) { return []byte("value of " + name), 1 }

func checkMapped(t *testing.T, m Mapping, body []byte, e event.Event, faults event.Faults) {
	t.Helper()
	body, malformed := (*Decoder)(nil).jsonIn(bytes.TrimPrefix(body, []byte("\ufeff")))
	if malformed != "" {
		if len(faults) == 0 {
			t.Fatalf("accepted what %s", malformed)
		}
		return
	}
	accepted := len(faults) == 0 || !strings.Contains(faults[0].Message, "not valid JSON")
	switch {
	case accepted && !json.Valid(body):
		t.Fatalf("accepted %q, which encoding/json refuses", body)
	case !accepted && json.Valid(body) && !stricter(body, faults[0].Message):
		t.Fatalf("refused %q (%s), which encoding/json accepts", body, faults[0].Message)
	case len(faults) > 0:
		return
	case e.Ignored != "":
		if len(m.Ignore) == 0 || e.ShipmentID != "" || e.ID != "" {
			t.Errorf("%q is ignored as %+v", body, e)
		}
		return
	}
	if want, ok := lookUp(t, body, m.ShipmentID); ok && e.ShipmentID != want {
		t.Errorf("shipment of %q is %q, want %q", body, e.ShipmentID, want)
	}
	want, ok := lookUp(t, body, m.OrderID)
	if len(want) > MaxIDBytes || strings.ContainsFunc(want, unicode.IsControl) {
		want = "" // an order id that can't be one is left out
	}
	if ok && e.OrderID != want {
		t.Errorf("order of %q is %q, want %q", body, e.OrderID, want)
	}
	for _, text := range []string{e.ID, e.Key, e.Type, e.ShipmentID} {
		if text == "" || strings.ContainsAny(text, "\r\n\x00") || len(text) > MaxKeyBytes {
			t.Errorf("%q of %q is no name", text, body)
		}
	}
	for _, at := range append([]time.Time{e.OccurredAt}, times(e.Checkpoints)...) {
		if at.Year() < minYear || at.Year() > maxYear || at.Location() != time.UTC {
			t.Errorf("%q has the time %v", body, at)
		}
	}
}

func times(moments []event.Moment) (out []time.Time) {
	for _, m := range moments {
		out = append(out, m.At)
	}
	return out
}

// lookUp reads by encoding/json the first alternative that a body has, without
// white space at its ends; "" when that is no text. ok is false for templates of
// more than a plain path.
func lookUp(t *testing.T, body []byte, templates []string) (text string, ok bool) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		t.Fatalf("no faults in %q, but encoding/json says %v", body, err)
	}
	for _, template := range templates {
		path, isPath := strings.CutPrefix(strings.TrimSuffix(template, "}"), "{")
		if !isPath || strings.ContainsAny(path, `{}":`) {
			return "", false
		}
		switch v := follow(doc, path).(type) {
		case string:
			if v = strings.TrimSpace(v); v != "" {
				return v, true
			}
		case json.Number:
			return v.String(), true
		}
	}
	return "", true
}

// follow returns what a path leads to, nil when nothing is there.
func follow(v any, path string) any {
	for _, step := range strings.Split(strings.ReplaceAll(path, "[", ".["), ".") {
		if digits, isIndex := strings.CutPrefix(strings.TrimSuffix(step, "]"), "["); isIndex {
			list, _ := v.([]any)
			i, _ := strconv.Atoi(digits)
			if i < 0 {
				i += len(list)
			}
			if i < 0 || i >= len(list) {
				return nil
			}
			v = list[i]
			continue
		}
		object, _ := v.(map[string]any)
		v = object[step]
	}
	return v
}

// FuzzNewDecoder compiles any template: what compiles decodes any body without
// panic and accepts JSON only.
func FuzzNewDecoder(f *testing.F) {
	for _, template := range []string{
		"{id}", "{a.b[0][-1]}-{c}", "{header:x}", "{sha256:body}", `{["a\"]b"]['}']}`, "{$.a}", "{", "}", "{}", "{[}", "{a[99999999999999999999]}", "x{a}y{b}z",
	} {
		f.Add(template, "log.x[0]", `{"id":1,"a":{"b":[[2]]},"c":"d","log":{"x":[[{"id":3}]]}}`)
	}
	f.Fuzz(func(t *testing.T, template, path, body string) {
		m := Mapping{
			EventID: []string{template, "{id}"}, ShipmentID: []string{template}, Status: []string{template}, Time: TimeMapping{Received: true},
			Checkpoints: CheckpointMapping{Path: path, Time: TimeMapping{From: []string{template, "{id}"}, Formats: []string{"unix", "iso8601"}}},
		}
		d, err := NewDecoder(m)
		if err != nil {
			return
		}
		var e event.Event
		faults := d.Decode(Input{Body: []byte(body), Received: received}, &e, nil)
		if len(faults) == 0 && !json.Valid([]byte(body)) {
			t.Fatalf("accepted %q", body)
		}
	})
}
