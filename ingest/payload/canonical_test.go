package payload

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

const goodBody = `{"eventId":"evt_123","eventType":"shipment.status.updated","occurredAt":"2026-02-26T12:00:00Z",
 "source":"courier-x","idempotencyKey":"courier-x:evt_123","checkpoint":{"city":"Zürich","facility":null,"scans":[1,2.5e3,true]},
 "payload":{"shipmentId":"shp_456","orderId":"ord_789","status":"out_for_delivery","weightGrams":1250,"note":"left at the \"door\""}}`

func TestDecode(t *testing.T) {
	t.Parallel()
	var e event.Event
	if faults := DecodeCanonical([]byte(goodBody), &e, nil); len(faults) != 0 {
		t.Fatalf("faults in a good body: %v", faults)
	}
	want := event.Event{
		ID: "evt_123", Type: "shipment.status.updated", OccurredAt: time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC),
		Source: "courier-x", Key: "courier-x:evt_123", ShipmentID: "shp_456", OrderID: "ord_789", Status: "out_for_delivery",
	}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("got %+v, want %+v", e, want)
	}
}

func TestDecodeAcceptsOptionalMembers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, payload, order, status string }{
		{"absent", `{"shipmentId":"s"}`, "", ""},
		{"null", `{"shipmentId":"s","orderId":null,"status":null}`, "", ""},
		{"empty", `{"shipmentId":"s","orderId":"","status":""}`, "", ""},
		{"status with white space", `{"shipmentId":"s","status":" Out for Delivery "}`, "", " Out for Delivery "},
		{"escapes", `{"shipmentId":"s","orderId":"\u0041\ud83d\udce6\/\"\\","st\u0061tus":"x"}`, `A📦/"\`, "x"},
		{"doubled members that are not read", `{"shipmentId":"s","x":1,"x":2}`, "", ""},
		{"same names elsewhere", `{"shipmentId":"s","nested":{"shipmentId":1,"status":[]}}`, "", ""},
		{"huge numbers", `{"shipmentId":"s","n":-1e999999,"m":123456789012345678901234567890.5E-7}`, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e event.Event
			if faults := DecodeCanonical(withPayload(tc.payload), &e, nil); len(faults) != 0 {
				t.Fatalf("faults: %v", faults)
			}
			if e.OrderID != tc.order || e.Status != tc.status {
				t.Errorf("got order %q status %q, want %q and %q", e.OrderID, e.Status, tc.order, tc.status)
			}
		})
	}
}

// withPayload returns a good body with the given payload.
func withPayload(payload string) []byte {
	return []byte(`{"eventId":"e","eventType":"t","occurredAt":"2026-02-26T12:00:00Z","source":"s","idempotencyKey":"k","payload":` + payload + `}`)
}

// replacing returns a good body in which the value of a top-level member is
// another.
func replacing(member, value string) string {
	members := []string{`"eventId":"e"`, `"eventType":"t"`, `"occurredAt":"2026-02-26T12:00:00Z"`, `"source":"s"`, `"idempotencyKey":"k"`, `"payload":{"shipmentId":"s"}`}
	for i, m := range members {
		if strings.HasPrefix(m, `"`+member+`"`) {
			members[i] = `"` + member + `":` + value
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestDecodeReportsEveryFault(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("x", MaxIDBytes+1) + `"`
	for _, tc := range []struct {
		name, body string
		want       []string // "path: message"
	}{
		{"not an object: array", `[1]`, []string{"$: must be an object, is an array"}},
		{"not an object: string", ` "x" `, []string{"$: must be an object, is a string"}},
		{"not an object: number", `-0.5`, []string{"$: must be an object, is a number"}},
		{"not an object: null", `null`, []string{"$: must be an object, is null"}},
		{"not an object: boolean", `true`, []string{"$: must be an object, is a boolean"}},
		{"everything missing", `{}`, []string{
			"eventId: is missing", "eventType: is missing", "occurredAt: is missing", "source: is missing",
			"idempotencyKey: is missing", "payload: is missing"}},
		{"payload empty", replacing("payload", `{}`), []string{"payload.shipmentId: is missing"}},
		{"payload null", replacing("payload", `null`), []string{"payload: must be an object, is null"}},
		{"payload array", replacing("payload", `[{"shipmentId":"s"}]`), []string{"payload: must be an object, is an array"}},
		{"wrong types everywhere", `{"eventId":1,"eventType":null,"occurredAt":1772107200,"source":{"a":1},"idempotencyKey":[],"payload":{"shipmentId":true,"orderId":7,"status":{}}}`, []string{
			"eventId: must be a string, is a number", "eventType: must be a string, is null",
			"occurredAt: must be a string, is a number", "source: must be a string, is an object",
			"idempotencyKey: must be a string, is an array", "payload.shipmentId: must be a string, is a boolean",
			"payload.orderId: must be a string, is a number", "payload.status: must be a string, is an object"}},
		{"empty texts", `{"eventId":"","eventType":"","occurredAt":"","source":"","idempotencyKey":"","payload":{"shipmentId":""}}`, []string{
			"eventId: must not be empty", "eventType: must not be empty",
			"occurredAt: must be an RFC 3339 time such as 2026-02-26T12:00:00Z", "source: must not be empty",
			"idempotencyKey: must not be empty", "payload.shipmentId: must not be empty"}},
		{"id too long", replacing("eventId", long), []string{"eventId: must not be longer than 256 bytes"}},
		{"key too long", replacing("idempotencyKey", `"`+strings.Repeat("ü", 257)+`"`), []string{"idempotencyKey: must not be longer than 512 bytes"}},
		{"status too long", replacing("payload", `{"shipmentId":"s","status":`+long+`}`), []string{"payload.status: must not be longer than 256 bytes"}},
		{"line break in the key", replacing("idempotencyKey", `"a\r\nNats-Rollup: all"`), []string{"idempotencyKey: must not hold control characters"}},
		{"NUL", replacing("eventId", `"a\u0000"`), []string{"eventId: must not hold control characters"}},
		{"DEL", replacing("eventId", "\"a\x7f\""), []string{"eventId: must not hold control characters"}},
		{"C1 control", replacing("eventId", `"ü\u0085"`), []string{"eventId: must not hold control characters"}},
		{"leading space", replacing("eventId", `" a"`), []string{"eventId: must not start or end with white space"}},
		{"trailing no-break space", replacing("source", "\"a\u00a0\""), []string{"source: must not start or end with white space"}},
		{"year out of range", replacing("occurredAt", `"0001-01-01T00:00:00Z"`), []string{"occurredAt: must be in the years 1970 to 2261"}},
		{"far ahead", replacing("occurredAt", `"9999-12-31T23:59:59Z"`), nil},
		{"doubled member", `{"eventId":"a",` + replacing("eventId", `"b"`)[1:], []string{"eventId: " + doubled}},
		{"doubled by an escape", `{"event\u0049d":"a",` + replacing("eventId", `"b"`)[1:], []string{"eventId: " + doubled}},
		{"tripled member, reported once", `{"eventId":"a","eventId":1,` + replacing("eventId", `"b"`)[1:], []string{"eventId: " + doubled}},
		{"doubled in payload", replacing("payload", `{"shipmentId":"s","status":null,"status":"x"}`), []string{"payload.status: " + doubled}},
		{"half a surrogate pair where nothing is read", replacing("payload", `{"shipmentId":"s","note":"\ud83d","\udce6":["\ud83d\ud83d"]}`), nil},
		{"half a surrogate pair in what is read", `{"eventId":"\ud83d",` + replacing("payload", `{"shipmentId":"s\udce6","orderId":"\ud83d\ud83d\udce6"}`)[len(`{"eventId":"e",`):],
			[]string{"eventId: must not hold " + halfPair, "payload.shipmentId: must not hold " + halfPair, "payload.orderId: must not hold " + halfPair}},
		{"byte order mark", "\ufeff " + replacing("source", `"s"`), nil},
		{"doubled payload", `{"payload":{"shipmentId":"x"},` + replacing("payload", `{"shipmentId":"s"}`)[1:], []string{"payload: " + doubled}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e event.Event
			got := texts(DecodeCanonical([]byte(tc.body), &e, nil))
			if !slices.Equal(got, tc.want) {
				t.Errorf("got faults\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tc.want, "\n  "))
			}
		})
	}
}

func texts(faults event.Faults) []string {
	var out []string
	for _, f := range faults {
		out = append(out, f.Path+": "+f.Message)
	}
	return out
}

func TestDecodeSyntax(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tc := range []struct{ name, body, want string }{
		{"empty", ``, "expected a value at byte 0, where the body ends"},
		{"white space only", "\n ", "expected a value at byte 2, where the body ends"},
		{"two byte order marks", "\ufeff\ufeff{}", "expected a value at byte 3"},
		{"cut off", `{"eventId":"e`, "expected the string's closing quote at byte 13, where the body ends"},
		{"cut off in an escape", `{"eventId":"e\`, "expected the string's closing quote at byte 14, where the body ends"},
		{"trailing data", `{} {}`, "expected the end of the body at byte 3"},
		{"trailing comma", `{"a":1,}`, "expected a member name in double quotes at byte 7"},
		{"trailing comma in an array", `[1,]`, "expected a value at byte 3"},
		{"missing colon", `{"a" 1}`, "expected ':' at byte 5"},
		{"missing comma", `{"a":1 "b":2}`, "expected ',' or '}' at byte 7"},
		{"single quotes", `{'a':1}`, "expected a member name in double quotes at byte 1"},
		{"leading zero", `{"a":01}`, "expected ',' or '}' at byte 6"},
		{"plus sign", `{"a":+1}`, "expected a value at byte 5"},
		{"lone minus", `{"a":-}`, "expected a digit at byte 6"},
		{"no digits behind the point", `{"a":1.}`, "expected a digit at byte 7"},
		{"no digits in the exponent", `{"a":1e+}`, "expected a digit at byte 8"},
		{"not a number", `{"a":NaN}`, "expected a value at byte 5"},
		{"misspelt literal", `{"a":nul}`, "expected 'null' at byte 5"},
		{"comment", `{/**/}`, "expected a member name in double quotes at byte 1"},
		{"raw line break in a string", "{\"a\":\"\n\"}", "expected no unescaped control character at byte 6"},
		{"unknown escape", `{"a":"\x41"}`, "expected a known escape at byte 6"},
		{"short escape", `{"a":"\u12g4"}`, "expected four hex digits in the escape at byte 6"},
		{"invalid UTF-8", "{\"a\":\"12345678\xff\"}", "expected valid UTF-8 (RFC 8259, section 8.1) at byte 14"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\xbd\"}", "expected valid UTF-8 (RFC 8259, section 8.1) at byte 6"},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", "expected valid UTF-8 (RFC 8259, section 8.1) at byte 6"},
		{"deep array", `{"a":` + nested(jsontext.MaxDepth) + `}`, "expected no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 68"},
		{"depth bomb", strings.Repeat(`{"a":`, 1<<16), "expected no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 320"},
		{"array bomb", strings.Repeat(`[`, 1<<20), "expected no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 64"},
		{"broken behind faults", `{"eventId":1,"source":2,`, "expected a member name in double quotes at byte 24, where the body ends"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e event.Event
			faults := DecodeCanonical([]byte(tc.body), &e, event.Faults{{Path: "kept"}})
			if len(faults) != 2 || faults[0].Path != "kept" {
				t.Fatalf("got %v, want the fault there was and one more", faults)
			}
			if f := faults[1]; f.Path != "$" || f.Message != "is not valid JSON: "+tc.want {
				t.Errorf("got  %s: %s\nwant $: is not valid JSON: %s", f.Path, f.Message, tc.want)
			}
		})
	}
	var e event.Event
	if faults := DecodeCanonical(withPayload(`{"shipmentId":"s","deep":`+nested(jsontext.MaxDepth-2)+`}`), &e, nil); len(faults) != 0 {
		t.Errorf("nesting at the limit is refused: %v", faults)
	}
}

func TestDecodeSharesTheBody(t *testing.T) {
	t.Parallel()
	body := withPayload(`{"shipmentId":"shp"}`)
	var e event.Event
	DecodeCanonical(body, &e, nil)
	kept := e.Clone()
	copy(body[bytes.Index(body, []byte("shp")):], "xyz")
	if e.ShipmentID != "xyz" || kept.ShipmentID != "shp" {
		t.Errorf("after a change of the body the event says %q, its clone %q", e.ShipmentID, kept.ShipmentID)
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(goodBody)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var e event.Event
	var faults event.Faults
	for b.Loop() {
		if faults = DecodeCanonical(body, &e, faults[:0]); len(faults) != 0 {
			b.Fatal(faults)
		}
	}
}

// FuzzDecode compares Decode with encoding/json: both accept the same texts but
// for the documented stricter rules, and of a body without faults both read the
// same values.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(goodBody))
	for _, seed := range []string{
		``, `{}`, `[]`, `null`, `{"eventId":"\ud83d\udce6"}`, `{"a":"\ud83d"}`, "{\"a\":\"\xff\"}", `{"a":[1,-0.0e+9,{"b":[]}]}`,
		strings.Repeat("[", 70), `{"payload":{"shipmentId":"\u0061","status":null}}`, "\x00", `{"a":1}x`, `"\`, `"\u`,
		string(withPayload(`{"shipmentId":"a\tb","orderId":"é","status":"\u2028"}`)),
		replacing("occurredAt", `"2026-02-26T12:00:00.123+02:00"`), replacing("eventId", `"\"\\\/\b\f\n\r\t\u00fc"`),
	} {
		f.Add([]byte(seed))
	}
	f.Add([]byte("\ufeff" + goodBody))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		var e event.Event
		faults := DecodeCanonical(body, &e, nil)
		if !bytes.Equal(body, before) {
			t.Fatal("Decode changed the body")
		}
		body = bytes.TrimPrefix(body, []byte("\ufeff"))
		accepted := len(faults) == 0 || !strings.Contains(faults[0].Message, "not valid JSON")
		switch {
		case accepted && !json.Valid(body):
			t.Fatalf("accepted %q, which encoding/json refuses", body)
		case !accepted && json.Valid(body) && !stricter(body, faults[0].Message):
			t.Fatalf("refused %q (%s), which encoding/json accepts", body, faults[0].Message)
		case len(faults) == 0:
			compare(t, body, e)
		}
	})
}

// stricter reports whether body breaks one of the rules in which a scanner is
// stricter than encoding/json.
func stricter(body []byte, message string) bool {
	switch {
	case strings.Contains(message, "UTF-8"):
		return !utf8.Valid(body)
	case strings.Contains(message, "nesting"):
		return bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) > jsontext.MaxDepth
	default:
		return false
	}
}

func compare(t *testing.T, body []byte, e event.Event) {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("no faults in %q, but encoding/json says %v", body, err)
	}
	payload, _ := doc["payload"].(map[string]any)
	at, err := time.Parse(time.RFC3339, doc["occurredAt"].(string))
	if err != nil || !at.Equal(e.OccurredAt) {
		t.Errorf("occurredAt of %q is %v, want %v (%v)", body, e.OccurredAt, at, err)
	}
	for _, c := range []struct {
		got  string
		want any
	}{
		{e.ID, doc["eventId"]}, {e.Type, doc["eventType"]}, {e.Source, doc["source"]}, {e.Key, doc["idempotencyKey"]},
		{e.ShipmentID, payload["shipmentId"]}, {e.OrderID, payload["orderId"]}, {e.Status, payload["status"]},
	} {
		if want, _ := c.want.(string); c.got != want {
			t.Errorf("read %q from %q, want %q", c.got, body, want)
		}
		if strings.ContainsAny(c.got, "\r\n\x00") {
			t.Errorf("%q holds a control character", c.got)
		}
	}
}
