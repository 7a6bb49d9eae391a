package sqlite

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestListsAreJSON(t *testing.T) {
	t.Parallel()
	r, p, d := storetest.FullRecord("c", "k"), storetest.FullShipment("c", "i"), storetest.FullLetter("l", 1)
	for _, test := range []struct {
		text      string
		got, want any
	}{
		{encodeAttempts(r.Attempts), new([]event.Attempt), &r.Attempts},
		{encodeHistory(p.History), new([]shipment.Checkpoint), &p.History},
		{encodeReplays(d.Replays), new([]event.ReplayLink), &d.Replays},
		{encodeHeaders(d.Headers), new(map[string]string), &d.Headers},
		{encodeCaptured(storetest.FullIngestion(1).Request.Headers), new([]ingestion.Header), &storetest.FullIngestion(1).Request.Headers},
	} {
		if err := json.Unmarshal([]byte(test.text), test.got); err != nil {
			t.Fatalf("%s: %v", test.text, err)
		}
		storetest.Same(t, test.got, test.want)
	}
}

func FuzzHistoryComesBack(f *testing.F) {
	f.Add("in_transit", "raw", "key", "id", int64(1), int64(2))
	f.Add("\"\\/\n\x00", "\xff\xfe", "\u2028<&>", "", int64(-1e18), int64(1e9))
	f.Add("é", "\\u0041", "}],[{", "日本", int64(1<<62), int64(0))
	f.Fuzz(func(t *testing.T, state, status, key, id string, seconds, nanos int64) {
		in := []shipment.Checkpoint{
			{At: time.Unix(seconds, nanos), State: shipment.State(state), Status: status, Key: key, EventID: id, Type: state, OrderID: key, ClaimedAt: time.Unix(seconds, 0), ScanAt: time.Unix(0, nanos)},
			{},
			{At: time.Unix(nanos, seconds), Type: key},
		}
		text := encodeHistory(in)
		if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
			t.Fatalf("no JSON: %q", text)
		}
		got, err := decodeHistory(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for i := range in {
			kept := func(t time.Time) time.Time {
				t, _ = persistence.ParseTime(persistence.TimeText(t))
				return t
			}
			in[i] = shipment.Checkpoint{At: kept(in[i].At), OrderID: persistence.CleanText(in[i].OrderID), ClaimedAt: kept(in[i].ClaimedAt), ScanAt: kept(in[i].ScanAt),
				State: shipment.State(persistence.CleanText(string(in[i].State))), Status: persistence.CleanText(in[i].Status),
				Key: persistence.CleanText(in[i].Key), EventID: persistence.CleanText(in[i].EventID), Type: persistence.CleanText(in[i].Type)}
		}
		if !reflect.DeepEqual(got, in) {
			t.Errorf("%q came back as %+v", text, got)
		}
	})
}

func FuzzCapturedHeadersComeBack(f *testing.F) {
	f.Add("Content-Type", "application/json", "X-A")
	f.Add("", "\xff\xfe\"\\/\n\x00", "\u2028<&>")
	f.Add(`}],[{"name":`, `\u0041`, "日本")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		in := []ingestion.Header{{Name: a, Value: b}, {Name: c, Value: a}, {Name: a, Value: c}, {}}
		text := encodeCaptured(in)
		if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
			t.Fatalf("no JSON: %q", text)
		}
		for i := range in {
			in[i] = ingestion.Header{Name: persistence.CleanText(in[i].Name), Value: persistence.CleanText(in[i].Value)}
		}
		if got, err := decodeCaptured(text); err != nil || !slices.Equal(got, in) {
			t.Errorf("%q came back as %+v, %v", text, got, err)
		}
	})
}

// FuzzDecodeList holds the decoder against encoding/json: what both take, both
// take alike.
func FuzzDecodeList(f *testing.F) {
	f.Add(encodeAttempts(storetest.FullRecord("c", "k").Attempts))
	for _, text := range []string{"", "[]", "[{}]", "[{},]", "[", "]", "null", `[{"number":1}`, `[{"number":1}]x`, `[{"number":"1"}]`, `[{"number":01}]`,
		`[{"message":"\ud83d\ude00\\"}]`, `[{"message":"\"}]`, `[ {"number" : 1} ]`, `[{"number":1,"number":2}]`, `[{"x":[1,{"y":2}]}]`, `[{"outcome":null}]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeAttempts(text)
		if text == "" || !json.Valid([]byte(text)) || !utf8.ValidString(text) {
			return
		}
		var want []event.Attempt
		if jsonErr := json.Unmarshal([]byte(text), &want); jsonErr != nil || hasOddNames(text) {
			return
		}
		for i := range want { // json keeps the zone, the decoder has UTC
			want[i].StartedAt, want[i].EndedAt = want[i].StartedAt.UTC(), want[i].EndedAt.UTC()
		}
		for i := range got {
			got[i].StartedAt, got[i].EndedAt = got[i].StartedAt.UTC(), got[i].EndedAt.UTC()
		}
		if err != nil || len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v, want %+v", text, got, err, want)
		}
	})
}

// hasOddNames reports whether text has a name that encoding/json takes for a
// member though its case differs, which the decoder does not.
func hasOddNames(text string) bool {
	for _, name := range []string{"number", "startedAt", "endedAt", "outcome", "errorCode", "message"} {
		if strings.Count(strings.ToLower(text), strings.ToLower(name)) != strings.Count(text, name) {
			return true
		}
	}
	return strings.Contains(text, `\u`)
}

func BenchmarkHistory(b *testing.B) {
	var history []shipment.Checkpoint
	for range 10 {
		history = append(history, storetest.FullShipment("c", "i").History[1])
	}
	text := encodeHistory(history)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encodeHistory(history)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			decodeHistory(text)
		}
	})
}
