package api

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// document is openapi.yaml as plain data.
type document struct{ root map[string]any }

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := yaml.Unmarshal(openAPI, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func items(v any) []any {
	l, _ := v.([]any)
	return l
}

// resolve follows a reference within the document.
func (d document) resolve(t *testing.T, v any) map[string]any {
	t.Helper()
	m := object(v)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = object(at)[name]
	}
	if at == nil {
		t.Fatalf("reference %s leads nowhere", ref)
	}
	return d.resolve(t, at)
}

type operation struct {
	doc  document
	id   string
	path map[string]any
	op   map[string]any
}

// find returns the operation of a route; its id is "" when there is none.
func (d document) find(method, pattern string) operation {
	path := object(object(d.root["paths"])[strings.ReplaceAll(pattern, "...}", "}")])
	op := object(path[strings.ToLower(method)])
	id, _ := op["operationId"].(string)
	return operation{d, id, path, op}
}

// operation returns that of a request.
func (d document) operation(t *testing.T, method, path string) operation {
	t.Helper()
	if method == "HEAD" {
		method = "GET"
	}
	path, _, _ = strings.Cut(path, "?")
	for _, r := range routes {
		if _, ok := match(r.pattern, strings.Split(path[1:], "/")); ok && r.method == method {
			return d.find(method, r.pattern)
		}
	}
	t.Fatalf("no route for %s %s", method, path)
	return operation{}
}

func TestDocumentHasTheRoutes(t *testing.T) {
	doc := readDocument(t)
	known := map[string]bool{}
	ids := map[string]bool{}
	for _, r := range routes {
		op := doc.find(r.method, r.pattern)
		if op.id == "" {
			t.Errorf("openapi.yaml lacks %s %s", r.method, r.pattern)
			continue
		}
		if ids[op.id] {
			t.Errorf("operationId %s is used twice", op.id)
		}
		ids[op.id] = true
		known[r.method+" "+strings.ReplaceAll(r.pattern, "...}", "}")] = true

		var params []string
		for _, p := range slices.Concat(items(op.path["parameters"]), items(op.op["parameters"])) {
			p := doc.resolve(t, p)
			if p["in"] == "path" {
				params = append(params, fmt.Sprint("{", p["name"], "}"))
				if p["required"] != true {
					t.Errorf("%s: path parameter %s is not required", op.id, p["name"])
				}
			}
		}
		var want []string
		for seg := range strings.SplitSeq(strings.ReplaceAll(r.pattern, "...}", "}"), "/") {
			if strings.HasPrefix(seg, "{") {
				want = append(want, seg)
			}
		}
		if !slices.Equal(params, want) {
			t.Errorf("%s has path parameters %v, want %v", op.id, params, want)
		}
		if _, ok := object(op.op["responses"])["default"]; !ok {
			t.Errorf("%s says nothing of errors", op.id)
		}
	}
	for path, ops := range object(doc.root["paths"]) {
		for method := range object(ops) {
			if method != "parameters" && !known[strings.ToUpper(method)+" "+path] {
				t.Errorf("openapi.yaml has %s %s, the API does not", strings.ToUpper(method), path)
			}
		}
	}
	if doc.root["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc.root["openapi"])
	}
	everyReference(t, doc, doc.root)
}

func everyReference(t *testing.T, doc document, v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["$ref"]; ok {
			doc.resolve(t, v)
		}
		for _, child := range v {
			everyReference(t, doc, child)
		}
	case []any:
		for _, child := range v {
			everyReference(t, doc, child)
		}
	}
}

// TestDocumentHasTheQueryParameters asks every GET with a parameter that
// nothing has: the refusal lists those that it takes.
func TestDocumentHasTheQueryParameters(t *testing.T) {
	doc := readDocument(t)
	for _, r := range routes {
		path := strings.NewReplacer("{project...}", "a", "{chart}", "b", "{version}", "1.0.0", "{account}", "ann", "{id}", "x", "{index}", "1", "{upstream}", "up", "{import}", "prod", "{route}", "sec").Replace(r.pattern)
		if r.pattern == "/openapi.yaml" {
			continue
		}
		w := serve(&fake{}, r.method, path+"?nobody-has-this=1", "", "")
		var e errorAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Rule != "query" {
			t.Errorf("%s %s takes unknown parameters: %d %s", r.method, r.pattern, w.Code, w.Body)
			continue
		}
		var takes []string
		for _, f := range e.Facts {
			takes = strings.Split(f.Value, ", ")
		}
		var documented []string
		for _, p := range items(doc.find(r.method, r.pattern).op["parameters"]) {
			if p := doc.resolve(t, p); p["in"] == "query" {
				documented = append(documented, p["name"].(string))
			}
		}
		slices.Sort(takes)
		slices.Sort(documented)
		if !slices.Equal(takes, documented) {
			t.Errorf("%s %s takes %v, openapi.yaml says %v", r.method, r.pattern, takes, documented)
		}
	}
}

// TestDocumentHasTheRequestFields holds the request schemas against the
// structs that are decoded.
func TestDocumentHasTheRequestFields(t *testing.T) {
	doc := readDocument(t)
	for name, v := range map[string]any{
		"ProjectRequest": projectRequest{}, "ProjectPatch": projectPatch{}, "RemoveRequest": removeRequest{}, "OriginRequest": originRequest{},
		"YankRequest": yankRequest{}, "BlockRequest": blockRequest{}, "WordRequest": wordRequest{}, "UnyankRequest": unyankRequest{}, "AccountRequest": accountRequest{}, "PasswordRequest": passwordRequest{},
		"GrantRequest": grantRequest{}, "AccountGrantRequest": accountGrantRequest{}, "TokenRequest": tokenRequest{}, "PublisherRequest": publisherRequest{}, "PublisherTestRequest": publisherTestRequest{}, "ExchangeRequest": exchangeRequest{}, "LinkRequest": linkRequest{}, "UpstreamRequest": upstreamRequest{}, "UpstreamPatch": upstreamPatch{}, "SourceRequest": sourceRequest{}, "Mirror": watch.Mirror{},
		"DeploymentPatch": deploymentPatch{}, "InventoryRequest": inventoryRequest{}, "RouteRequest": routeRequest{}, "ResendRequest": resendRequest{},
		"FeedRequest": feedRequest{}, "FeedPatch": feedPatch{}, "MatchRequest": matchRequest{}, "WaiverRequest": waiverRequest{}, "ReviewRequest": reviewRequest{}, "SignRequest": signRequest{},
		"AcceptRequest": acceptRequest{}, "WindowRequest": windowRequest{}, "DismissRequest": dismissRequest{}, "TrackerRequest": trackerRequest{}, "Policy": projectRequest{}.Policy,
	} {
		var fields, documented []string
		for i := range reflect.TypeOf(v).NumField() {
			tag, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			fields = append(fields, tag)
		}
		for p := range object(object(object(doc.root["components"])["schemas"].(map[string]any)[name])["properties"]) {
			documented = append(documented, p)
		}
		slices.Sort(fields)
		slices.Sort(documented)
		if !slices.Equal(fields, documented) {
			t.Errorf("%s has %v, openapi.yaml says %v", name, fields, documented)
		}
	}
}

// checkAnswer holds an answer against the schema that the document gives it.
func (op operation) checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	responses := object(op.op["responses"])
	res, ok := responses[fmt.Sprint(w.Code)]
	if !ok {
		if w.Code < 400 {
			t.Errorf("openapi.yaml: %s does not answer %d", op.id, w.Code)
			return
		}
		res = responses["default"]
	}
	content := object(op.doc.resolve(t, res)["content"])
	kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	if len(content) == 0 && w.Body.Len() == 0 {
		return
	}
	media := object(content[kind])
	if media == nil {
		t.Errorf("openapi.yaml: %s does not answer with %q", op.id, kind)
		return
	}
	if kind != "application/json" {
		return
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Errorf("%s: %v", op.id, err)
		return
	}
	for _, fault := range op.doc.faults(t, "answer", media["schema"], v) {
		t.Errorf("%s: %s", op.id, fault)
	}
}

// faults checks a value against a schema, in the part of JSON Schema that the
// document uses. A field that no schema has is a fault: the document is to be
// complete.
func (d document) faults(t *testing.T, at string, schema, v any) (out []string) {
	t.Helper()
	s := d.resolve(t, schema)
	if c, ok := s["const"]; ok && c != v {
		out = append(out, fmt.Sprintf("%s is %v, want %v", at, v, c))
	}
	if enum := items(s["enum"]); enum != nil && !slices.Contains(enum, v) {
		out = append(out, fmt.Sprintf("%s is %v, not one of %v", at, v, enum))
	}
	switch kind, _ := s["type"].(string); kind {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return append(out, at+" is no object")
		}
		properties, required := map[string]any{}, items(s["required"])
		for _, part := range append(items(s["allOf"]), s) {
			part := d.resolve(t, part)
			for name, p := range object(part["properties"]) {
				properties[name] = p
			}
			required = append(required, items(part["required"])...)
		}
		for _, name := range required {
			if _, ok := m[name.(string)]; !ok {
				out = append(out, fmt.Sprintf("%s lacks %s", at, name))
			}
		}
		for name, value := range m {
			p, ok := properties[name]
			if !ok {
				if p = s["additionalProperties"]; p == nil {
					out = append(out, fmt.Sprintf("%s.%s is not in openapi.yaml", at, name))
				}
			}
			if _, free := p.(bool); p != nil && !free {
				out = append(out, d.faults(t, at+"."+name, p, value)...)
			}
		}
	case "array":
		l, ok := v.([]any)
		if !ok {
			return append(out, at+" is no array")
		}
		for i, item := range l {
			out = append(out, d.faults(t, fmt.Sprintf("%s[%d]", at, i), s["items"], item)...)
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			return append(out, at+" is no string")
		}
		if s["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, text); err != nil {
				out = append(out, at+" is no time")
			}
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != float64(int64(n)) {
			out = append(out, at+" is no integer")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			out = append(out, at+" is no boolean")
		}
	}
	return out
}
