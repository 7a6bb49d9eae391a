package ops

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// document is the embedded OpenAPI document, as far as the tests look at it.
type document struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct {
		Schemas   map[string]schema
		Responses map[string]any
	}
}

type operation struct {
	OperationID string
	Summary     string
	Security    *[]any
	Parameters  []struct{ Name, In string }
	RequestBody any
	Responses   map[string]any
}

type schema struct {
	Properties map[string]any
	Required   []string
}

func readDocument(t *testing.T) (doc document) {
	t.Helper()
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// documented returns a pattern's method and path as the document writes them.
func documented(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return strings.ToLower(method), strings.NewReplacer("{$}", "", "...}", "}").Replace(path)
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	admin, err := NewAdmin(DefaultAdminConfig(), sample().deps())
	if err != nil {
		t.Fatal(err)
	}
	var routes, operations []string
	doc := readDocument(t)
	for pattern, route := range admin.routes {
		method, path := documented(pattern)
		routes = append(routes, method+" "+path)
		if open := doc.Paths[path][method].Security != nil; open != route.open {
			t.Errorf("%s: documented as needing no token: %v, but is %v", pattern, open, route.open)
		}
	}
	ids := map[string]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			name := method + " " + path
			operations = append(operations, name)
			if op.Summary == "" || len(op.Responses) == 0 || ids[op.OperationID] != "" {
				t.Errorf("%s: summary %q, operationId %q (also of %q), %d responses", name, op.Summary, op.OperationID, ids[op.OperationID], len(op.Responses))
			}
			ids[op.OperationID] = name
			checkPathParameters(t, path, op)
		}
	}
	slices.Sort(routes)
	slices.Sort(operations)
	if !slices.Equal(routes, operations) {
		t.Errorf("routes:\n%s\ndocumented:\n%s", strings.Join(routes, "\n"), strings.Join(operations, "\n"))
	}
}

func checkPathParameters(t *testing.T, path string, op operation) {
	t.Helper()
	var want, got []string
	for _, match := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		want = append(want, match[1])
	}
	for _, p := range op.Parameters {
		if p.In == "path" {
			got = append(got, p.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: path parameters %v", path, got)
	}
}

func TestOpenAPIReferencesResolve(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	used := map[string]bool{}
	for _, match := range regexp.MustCompile(`"\$ref": "#/components/(schemas|responses)/(\w+)"`).FindAllStringSubmatch(string(openAPI), -1) {
		used[match[2]] = true
		_, isSchema := doc.Components.Schemas[match[2]]
		_, isResponse := doc.Components.Responses[match[2]]
		if isSchema != (match[1] == "schemas") || isResponse != (match[1] == "responses") {
			t.Errorf("%s leads nowhere", match[0])
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(doc.Components.Schemas)), slices.Collect(maps.Keys(doc.Components.Responses))) {
		if !used[name] {
			t.Errorf("%s is not used", name)
		}
	}
}

func TestOpenAPISchemasAreTheTypes(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	for name, v := range map[string]any{
		"Problem": Problem{}, "Status": Status{}, "Listener": Listener{}, "Health": Health{}, "QueueStatus": QueueStatus{}, "StoreCounts": event.StoreCounts{},
		"WorkerStatus": WorkerStatus{}, "ReconcilerStatus": ReconcilerStatus{}, "Record": event.Record{}, "Attempt": event.Attempt{},
		"Shipment": event.Shipment{}, "Checkpoint": event.Checkpoint{}, "DeadLetter": event.DeadLetter{}, "DeadLetterPage": DeadLetterPage{},
		"ReplayLink": event.ReplayLink{}, "Note": Note{}, "IngestionPage": IngestionPage{}, "IngestionRow": IngestionRow{}, "IngestionRecord": event.IngestionRecord{},
		"CapturedRequest": event.CapturedRequest{}, "CapturedHeader": event.CapturedHeader{}, "AcceptRequest": AcceptRequest{}, "Accepted": Accepted{},
		"CourierList": CourierList{}, "CourierInfo": CourierInfo{}, "KeyInfo": KeyInfo{}, "KeySourceInfo": KeySourceInfo{}, "ReloadReport": ReloadReport{},
		"LossList": LossList{}, "Loss": event.Loss{}, "SequenceRange": event.SequenceRange{},
	} {
		all, required := members(reflect.TypeOf(v))
		s := doc.Components.Schemas[name]
		if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, all) {
			t.Errorf("%s has\n%v, the type\n%v", name, got, all)
		}
		slices.Sort(s.Required)
		if !slices.Equal(s.Required, required) {
			t.Errorf("%s requires\n%v, the type always has\n%v", name, s.Required, required)
		}
	}
	for name, typ := range map[string]reflect.Type{"DeadLetterRow": reflect.TypeFor[DeadLetterRow](), "RequestRow": reflect.TypeFor[RequestRow]()} {
		rows := slices.Sorted(maps.Keys(doc.Components.Schemas[name].Properties))
		want, _ := members(typ)
		want = slices.DeleteFunc(want, func(name string) bool { return name == "body" || name == "headers" })
		if !slices.Equal(rows, want) {
			t.Errorf("%s has\n%v, want\n%v", name, rows, want)
		}
	}
}

// members returns the JSON names of a struct's fields, and of those the ones
// that are never left out.
func members(typ reflect.Type) (all, required []string) {
	for _, field := range reflect.VisibleFields(typ) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || name == "-" || name == "" {
			continue
		}
		all = append(all, name)
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	slices.Sort(all)
	slices.Sort(required)
	return all, required
}
