package media

import (
	"fmt"
	"mime"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func accepts(t testing.TB, types, codings []string) *Accepts {
	t.Helper()
	var faults event.Faults
	a := New(types, codings, &faults, "")
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTypes(t *testing.T) {
	t.Parallel()
	usual, ambient := accepts(t, Types(false), nil), accepts(t, Types(true), nil)
	own := accepts(t, []string{"Application/X-Own", "text/*", "*/*+xml"}, nil)
	for contentType, want := range map[string]string{ // by which of the three it is taken
		"application/json": "ua", "APPLICATION/JSON": "ua", "application/json; charset=utf-8": "ua", `application/json;charset="UTF-8"; v=1`: "ua",
		"application/json; charset=utf8": "ua", "application/json; charset=us-ascii": "ua", `application/json; charset="utf8"`: "ua", "application/json; charset='ascii'": "ua",
		"application/json;": "ua", "application/json; charset = UTF8 ;": "ua", " application/json ": "ua",
		"application/cloudevents+json": "ua", "application/vnd.courier.v2+json; charset=UTF-8": "ua", "application/vnd.courier": "ua", "text/json": "uao",
		"application/x-json": "ua", "application/octet-stream": "ua", "x/y+json": "ua",
		"": "u", ";charset=utf-8": "u", "text/plain": "uo", "text/plain; charset=US-ASCII": "uo", "application/x-www-form-urlencoded": "u",
		"application/x-own": "o", "text/html": "o", "text/xml": "o", "image/svg+xml": "o",
		"application/xml": "", "application/vnd.courier+xml": "o", "application/vnd.courier+cbor": "", "multipart/form-data; boundary=x": "", "image/png": "",
		"text/x+cbor": "", "json": "", "application/jsonp": "", "+json": "", "application/json+xml": "o", "application/json/x": "", "none": "",
		"application/json; charset=": "", "application/json; a=b; charset=latin1": "", "text/plain; charset=utf-16": "", "application/json; charset=utf-8; charset=latin1": "",
		"application/" + strings.Repeat("x", 200) + "+json": "", "application/json, application/json": "",
	} {
		got := ""
		for i, a := range []*Accepts{usual, ambient, own} {
			if _, fault := a.Check([]byte(contentType), nil); fault == "" {
				got += "uao"[i : i+1]
			}
		}
		if got != want {
			t.Errorf("%q is taken by %q, want %q", contentType, got, want)
		}
	}
	if _, fault := accepts(t, []string{"*/*"}, nil).Check([]byte("image/svg+xml"), nil); fault != "" {
		t.Errorf("*/* takes no +xml: %s", fault)
	}
}

func TestCodings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		codings, said []string
		packed        bool
		fault         string
	}{
		{said: nil}, {said: []string{"identity"}}, {said: []string{""}}, {said: []string{"gzip"}, packed: true}, {said: []string{"X-GZIP"}, packed: true},
		{said: []string{"identity, GZip ,"}, packed: true}, {said: []string{"identity", "gzip"}, packed: true},
		{said: []string{"gzip, gzip"}, packed: true, fault: "must be identity or gzip"}, {said: []string{"gzip", "gzip"}, packed: true, fault: "must be identity or gzip"},
		{said: []string{"br"}, fault: "must be identity or gzip"}, {said: []string{"br, gzip"}, fault: "must be identity or gzip"}, {said: []string{"gzip;q=1"}, fault: "must be"},
		{codings: []string{"identity"}, said: []string{"gzip"}, packed: true, fault: "must be identity"},
		{codings: []string{"gzip"}, said: nil, fault: "must be gzip"}, {codings: []string{"gzip"}, said: []string{"gzip"}, packed: true},
	} {
		var said [][]byte
		for _, s := range tc.said {
			said = append(said, []byte(s))
		}
		packed, fault := accepts(t, Types(false), tc.codings).Check([]byte("application/json"), said)
		if packed != tc.packed || (fault == "") != (tc.fault == "") || !strings.Contains(fault, tc.fault) {
			t.Errorf("%q is packed: %v %q, want %v %q", tc.said, packed, fault, tc.packed, tc.fault)
		}
	}
}

func TestFaultsOfLists(t *testing.T) {
	t.Parallel()
	var faults event.Faults
	New([]string{"none", "json", "a/b/c", "a/", "a/b;c", `text/\*`, "text/[a]"}, []string{"deflate"}, &faults, "x.")
	New(nil, nil, &faults, "y.")
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	if got := strings.Join(paths, " "); got != "x.content_types[1] x.content_types[2] x.content_types[3] x.content_types[4] x.content_types[5] x.content_types[6] x.content_encodings[0] y.content_types" {
		t.Errorf("faults are at %s", got)
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	a, encodings := accepts(t, Types(false), nil), [][]byte{[]byte("gzip")}
	for _, contentType := range []string{"application/json", "Application/VND.x.y; charset=\"UTF-8\"", "image/png"} {
		text := []byte(contentType)
		if n := testing.AllocsPerRun(100, func() { a.Check(text, encodings) }); n != 0 {
			t.Errorf("%s costs %v allocations", contentType, n)
		}
	}
}

// FuzzCheck compares what is taken with what package mime reads.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"application/json", "text/plain;charset=utf8", "*/*", "a/b+json; charset=\"x", ";;=", "multipart/form-data"} {
		f.Add(seed, "gzip, identity")
	}
	a := accepts(f, Types(false), nil)
	f.Fuzz(func(t *testing.T, contentType, encoding string) {
		packed, fault := a.Check([]byte(contentType), [][]byte{[]byte(encoding)})
		if packed && !strings.Contains(strings.ToLower(encoding), "gzip") {
			t.Errorf("%q is packed", encoding)
		}
		kind, parameters, err := mime.ParseMediaType(contentType)
		if fault != "" || err != nil {
			return
		}
		said := fmt.Sprint(kind, parameters)
		for _, other := range []string{"multipart/", "image/", "xml", "latin", "utf-16"} {
			if strings.HasPrefix(kind, other) && !strings.HasSuffix(kind, "+json") || strings.HasPrefix(parameters["charset"], other) {
				t.Errorf("%q (%s) is taken", contentType, said)
			}
		}
	})
}
