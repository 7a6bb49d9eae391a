package payload

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestForm(t *testing.T) {
	t.Parallel()
	text := strings.Replace(goodBody, `"payload":{`, `"payload":{"note":"a+b & 100 % é",`, 1)
	mapped := mustDecoder(t, small(func(m *Mapping) { m.Key = []string{"{sha256:body}"} }))
	var want event.Event
	if faults := DecodeCanonical([]byte(text), &want, nil); len(faults) > 0 {
		t.Fatal(faults)
	}
	encoded := url.QueryEscape(text)
	for _, tc := range []struct {
		name, body string
		decoder    *Decoder
		fault      string // "" for none
	}{
		{"form", "payload=" + encoded, nil, ""},
		{"among others", "a=b&payload=" + encoded + "&c&=", nil, ""},
		{"encoded name", "p%61yload=" + encoded, nil, ""},
		{"spaces as they are", "payload=" + url.PathEscape(text), nil, "is not valid JSON"}, // + means a space
		{"another field", "data=" + encoded, (&Decoder{}).InFormField("data"), ""},
		{"not that field", "data=" + encoded, nil, `is neither JSON nor a form with the field "payload"`},
		{"twice", "payload=" + encoded + "&payload=" + encoded, nil, `more than once`},
		{"twice, once encoded", "payload=" + encoded + "&%70ayload=", nil, `more than once`},
		{"bad escape", "payload=%zz", nil, `can't be decoded: invalid URL escape "%zz"`},
		{"no JSON in it", "payload=a%3Db", nil, "is not valid JSON: expected a value at byte 0"},
		{"UTF-16", "\xff\xfe{\x00}\x00", nil, "is in UTF-16"},
		{"UTF-16, the other way", "\xfe\xff\x00{\x00}", nil, "is in UTF-16"},
		{"empty", "payload=", nil, "is not valid JSON: expected a value at byte 0, where the body ends"},
		{"form in a form", "payload=" + url.QueryEscape("payload="+encoded), nil, "is not valid JSON: expected a value at byte 0"},
		{"string", `"payload=x"`, nil, "must be an object, is a string"},
		{"mapped", "payload=" + url.QueryEscape(`{"id":"e","at":"2026-03-02T12:00:00Z","data":{"parcel":{"number":"n"}}}`), mapped, ""},
	} {
		var e, queued event.Event
		faults := tc.decoder.Decode(Input{Body: []byte(tc.body)}, &e, nil)
		if (len(faults) == 0) != (tc.fault == "") || len(faults) > 0 && (faults[0].Path != "$" || !strings.Contains(faults[0].Message, tc.fault)) {
			t.Errorf("%s: got %v, want %q", tc.name, faults, tc.fault)
			continue
		}
		env := event.Envelope{EventID: e.ID, Key: e.Key, Body: []byte(tc.body)}
		again := tc.decoder.DecodeQueued(&env, &queued, nil)
		if !reflect.DeepEqual(e, queued) && len(faults) == 0 || len(again) != len(faults) {
			t.Errorf("%s: the worker reads %+v %v, the intake %+v %v", tc.name, queued, again, e, faults)
		}
		switch {
		case tc.decoder == mapped:
			if e.ShipmentID != "n" || e.Key != event.BodyHash([]byte(tc.body)) {
				t.Errorf("%s: got %+v", tc.name, e)
			}
		case len(faults) == 0 && !reflect.DeepEqual(e, want):
			t.Errorf("%s: got %+v, want %+v", tc.name, e, want)
		}
	}
}

// FuzzForm compares what is read of a form with what net/url reads.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"payload=%7B%7D", "a=b&payload=x+y&c=d", "payload=1&payload=2", "payload", "=payload", "payload=%", "p%61yload=z", "{}", ""} {
		f.Add([]byte(seed))
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		text, fault := d.jsonIn(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body is changed")
		}
		form, err := url.ParseQuery(string(body))
		switch values := form["payload"]; {
		case json.Valid(body) && fault != "":
			t.Fatalf("%q is JSON, not %s", body, fault)
		case fault != "" || bytes.Equal(text, body) || err != nil:
		case len(values) != 1 || values[0] != string(text):
			t.Fatalf("%q has %q, net/url says %q", body, text, values)
		}
	})
}
