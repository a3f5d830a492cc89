package chartrepo

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// maxPath bounds a path, in bytes after decoding. A project of several
// segments, a chart name and a version are far below it.
const maxPath = 2048

// operation is what a request asks of the door.
type operation uint8

const (
	_                operation = iota
	opIndex                    // GET /{project}/index.yaml, /{project}/all/index.yaml
	opArchive                  // GET /{project}/charts/{file}.tgz
	opProvenance               // GET /{project}/charts/{file}.tgz.prov
	opProof                    // GET /{project}/charts/{file}.tgz.tlog-proof
	opInfo                     // GET /info
	opHealth                   // GET /health
	opHub                      // GET /{project}/artifacthub-repo.yml
	opCharts                   // GET /api/{project}/charts
	opVersions                 // GET /api/{project}/charts/{chart}
	opVersion                  // GET /api/{project}/charts/{chart}/{version}
	opTemplates                // GET …/{version}/templates
	opValues                   // GET …/{version}/values
	opPush                     // POST /api/{project}/charts
	opPushProvenance           // POST /api/{project}/prov
	opDelete                   // DELETE /api/{project}/charts/{chart}/{version}
)

// format is the text form of an index that a client asks for.
type format uint8

const (
	formatAny  format = iota // nothing said in the URL: the Accept header decides
	formatJSON               // ?format=json
	formatYAML               // ?format=yaml
)

// request is a request that this door understands. Which of the fields are
// set depends on op; names are as the client wrote them, and only their
// place in the path has been checked.
type request struct {
	op             operation
	project        string
	all            bool // index with the yanked releases
	file           string
	chart, version string
	offset, limit  int // charts to skip; charts to return at most, 0 for all
	force          bool
	format         format
	allow          string // the methods that the path has, "" for a path that names nothing
}

// The segments that end the name of a project. No project segment and no
// chart can be called so, which makes every path below unambiguous.
const (
	segAPI    = "api"
	segCharts = "charts"
	segProv   = "prov"
	segAll    = "all"
)

const allowRead = "GET, HEAD"

// parse reads method, decoded path and raw query of a request. With an error
// the request still says which methods the path has.
func parse(method, path, query string) (request, error) {
	if len(path) > maxPath || !strings.HasPrefix(path, "/") {
		return request{}, notFound(path)
	}
	req := locate(path[1:])
	if req.op == 0 || !cleanPath(path) {
		return request{}, notFound(path)
	}
	switch {
	case (method == http.MethodGet || method == http.MethodHead) && req.op != opPushProvenance:
	case method == http.MethodPost && req.op == opCharts:
		req.op = opPush
	case method == http.MethodPost && req.op == opPushProvenance:
	case method == http.MethodDelete && req.op == opVersion:
		req.op = opDelete
	default:
		return req, problem.New(problem.Unsupported, server.RuleMethod, "%s is not offered for %s", method, path).
			With("offered", "%s", req.allow)
	}
	if query != "" {
		if err := req.readQuery(query); err != nil {
			return req, err
		}
	}
	return req, nil
}

// locate finds out what a path without its leading slash names; op is 0 when
// it names nothing. The classic paths come first: they are the ones that must
// be fast. An index with all releases has its archives below it, where its
// relative URLs lead.
func locate(path string) request {
	dir, last := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, last = path[:i], path[i+1:]
	}
	if project, ok := strings.CutSuffix(dir, "/"+segCharts); ok && !strings.HasPrefix(dir, segAPI+"/") {
		if op := fileKind(last); op != 0 {
			return request{op: op, project: strings.TrimSuffix(project, "/"+segAll), file: last, allow: allowRead}
		}
		return request{}
	}
	switch last {
	case "index.yaml":
		if project, all := strings.CutSuffix(dir, "/"+segAll); project != "" {
			return request{op: opIndex, project: project, all: all, allow: allowRead}
		}
		return request{}
	case "artifacthub-repo.yml":
		if dir != "" {
			return request{op: opHub, project: dir, allow: allowRead}
		}
		return request{}
	}
	if rest, ok := strings.CutPrefix(path, segAPI+"/"); ok {
		return locateAPI(rest)
	}
	switch path {
	case "info":
		return request{op: opInfo, allow: allowRead}
	case "health":
		return request{op: opHealth, allow: allowRead}
	}
	return request{}
}

// locateAPI is locate for what follows "/api/".
func locateAPI(path string) request {
	segs := strings.Split(path, "/")
	at := slices.Index(segs, segCharts)
	if n := len(segs); at < 0 && n > 1 && segs[n-1] == segProv {
		return request{op: opPushProvenance, project: strings.Join(segs[:n-1], "/"), allow: "POST"}
	}
	if at < 1 { // there is no repository without a project
		return request{}
	}
	req := request{project: strings.Join(segs[:at], "/"), allow: allowRead}
	rest := segs[at+1:]
	if len(rest) > 0 {
		req.chart = rest[0]
	}
	if len(rest) > 1 {
		req.version = rest[1]
	}
	switch {
	case len(rest) == 0:
		req.op, req.allow = opCharts, "GET, HEAD, POST"
	case len(rest) == 1:
		req.op = opVersions
	case len(rest) == 2:
		req.op = opVersion
	case len(rest) == 3 && rest[2] == "templates":
		req.op = opTemplates
	case len(rest) == 3 && rest[2] == "values":
		req.op = opValues
	}
	return req
}

// fileKind says what a file below charts/ is by its name, 0 for nothing that
// this door has.
func fileKind(name string) operation {
	const archive = ".tgz"
	switch {
	case len(name) > len(archive) && strings.HasSuffix(name, archive):
		return opArchive
	case strings.HasSuffix(name, archive+".prov"):
		return opProvenance
	case strings.HasSuffix(name, archive+".tlog-proof"):
		return opProof
	}
	return 0
}

// cleanPath reports whether a path has only segments that can be names:
// none is empty, "." or "..", and there are no control characters.
func cleanPath(path string) bool {
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if path[i] < 0x20 || path[i] == 0x7f || path[i] == '\\' {
				return false
			}
			continue
		}
		if seg := path[start:i]; seg == "" || seg == "." || seg == ".." {
			return false
		}
		start = i + 1
	}
	return true
}

// readQuery reads the parameters that the operation knows; others are left
// alone, as ChartMuseum does, since clients and proxies add their own.
func (req *request) readQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return problem.New(problem.Invalid, "query", "the query of the URL cannot be read").Because(err)
	}
	switch req.op {
	case opIndex:
		switch f := values.Get("format"); f {
		case "":
		case "json":
			req.format = formatJSON
		case "yaml":
			req.format = formatYAML
		default:
			return problem.New(problem.Invalid, "index-format", "an index has no format %q", f).
				With("formats", "json, yaml")
		}
	case opCharts:
		if s := values.Get("offset"); s != "" {
			if req.offset, err = strconv.Atoi(s); err != nil || req.offset < 0 {
				return problem.New(problem.Invalid, "page", "offset must be a number from 0 on").With("offset", "%s", s)
			}
		}
		if s := values.Get("limit"); s != "" {
			if req.limit, err = strconv.Atoi(s); err != nil || req.limit < 1 {
				return problem.New(problem.Invalid, "page", "limit must be a number from 1 on").With("limit", "%s", s)
			}
		}
	case opPush, opPushProvenance:
		// Its presence is what counts: ChartMuseum's clients send no value.
		req.force = values.Has("force")
	}
	return nil
}

func notFound(path string) error {
	if len(path) > 200 {
		path = path[:200] + "…"
	}
	p := problem.New(problem.NotFound, "path", "there is nothing at %s", path)
	switch {
	case path == "/index.yaml" || path == "/artifacthub-repo.yml" || strings.HasPrefix(path, "/charts/") || strings.HasPrefix(path, "/api/charts"):
		return p.With("reason", "charts live in projects, and the server has no repository above them").
			Suggest("the same path below a project: /PROJECT/index.yaml, /api/PROJECT/charts")
	}
	return p
}
