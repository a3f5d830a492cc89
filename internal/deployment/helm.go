package deployment

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Helm 3 and 4 keep each revision of a release in an object of its own: a
// Secret of type helm.sh/release.v1, or a ConfigMap with the label owner=helm.
// Its field "release" is the release as JSON, compressed with gzip unless it is
// very old, in base64. What a Secret holds is in base64 once more.

// Limits of Helm's storage.
const (
	maxStorage    = 512 << 20 // bytes of a list of objects
	maxObjects    = 50_000    // in a list
	maxEncoded    = 16 << 20  // bytes of one release as it is stored; Kubernetes keeps 1 to 3 MiB
	maxRelease    = 64 << 20  // bytes of one release, unpacked
	maxStored     = 10_000    // templates, or files, of one release
	maxYAMLObject = 32 << 20  // bytes of a list in YAML, which takes many times its size to read
)

// HelmObject is an object of Helm's storage.
type HelmObject struct {
	Kind      string // Secret or ConfigMap
	Namespace string
	Name      string
	Labels    map[string]string
	Release   string // the field "release", without the base64 of a Secret
}

// HelmStorage collects the objects of Helm's storage in one cluster and tells
// what they deploy. Objects may come in any order and in pieces; of each
// release only what can be the deployment is kept, so that the memory is that
// of the newest revisions. The zero value is not ready: see NewHelmStorage. It
// is not safe for concurrent use.
type HelmStorage struct {
	cluster  string
	from     string
	releases map[[2]string]*revisions
	problems []string
}

type revisions struct {
	newest, deployed *HelmObject
	newestRevision   int
	deployedRevision int
	count            int
}

// NewHelmStorage returns an empty storage. Cluster names the cluster for ever;
// from says where it is read, such as the context.
func NewHelmStorage(cluster, from string) *HelmStorage {
	return &HelmStorage{cluster: cluster, from: from, releases: map[[2]string]*revisions{}}
}

// Add adds one object. What is no release of Helm 3 or 4 is passed over.
func (s *HelmStorage) Add(o HelmObject) {
	if o.Release == "" {
		return
	}
	if len(o.Release) > maxEncoded {
		s.problem(o, "it is larger than %d MiB", maxEncoded>>20)
		return
	}
	name, status := o.Labels["name"], o.Labels["status"]
	revision, err := strconv.Atoi(o.Labels["version"])
	if name == "" || status == "" || err != nil {
		// An object whose labels were lost; its content says the same.
		r, err := decodeRelease([]byte(o.Release))
		if err != nil {
			s.problem(o, "%s", reason(err))
			return
		}
		name, status, revision = r.Name, r.Info.Status, r.Version
		if o.Namespace == "" {
			o.Namespace = r.Namespace
		}
	}
	key := [2]string{o.Namespace, name}
	revs := s.releases[key]
	if revs == nil {
		if len(s.releases) >= maxObjects {
			s.problem(o, "the cluster has more than %d releases", maxObjects)
			return
		}
		revs = &revisions{}
		s.releases[key] = revs
	}
	revs.count++
	if revs.newest == nil || revision > revs.newestRevision {
		revs.newest, revs.newestRevision = &o, revision
	}
	if status == "deployed" && (revs.deployed == nil || revision > revs.deployedRevision) {
		revs.deployed, revs.deployedRevision = &o, revision
	}
	if revs.deployed != nil && revs.deployedRevision >= revs.newestRevision {
		revs.newest = revs.deployed
	}
}

func (s *HelmStorage) problem(o HelmObject, format string, args ...any) {
	if len(s.problems) < maxProblems {
		s.problems = append(s.problems, fmt.Sprintf("%s: %s %s/%s: %s", s.from, o.Kind, o.Namespace, o.Name, fmt.Sprintf(format, args...)))
	}
}

// maxProblems is how many problems an inventory lists.
const maxProblems = 1000

// Inventory decodes the releases and returns them as deployments. The newest
// revision with the status deployed is the deployment, or the newest of all
// where none is; later attempts are named in Unresolved. Cost: one release in
// memory at a time.
func (s *HelmStorage) Inventory() Inventory {
	v := Inventory{From: s.from, Deployments: []Deployment{}}
	problems := slices.Clone(s.problems)
	for _, key := range slices.SortedFunc(maps.Keys(s.releases), func(a, b [2]string) int {
		return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1]))
	}) {
		revs := s.releases[key]
		o := revs.deployed
		if o == nil {
			o = revs.newest
		}
		r, err := decodeRelease([]byte(o.Release))
		if err != nil {
			// Found, and it cannot be read: it is listed all the same.
			v.Deployments = append(v.Deployments, Deployment{
				Key: helmKey(s.cluster, key[0], key[1]), Tool: Helm, From: s.from + ": " + o.Kind + " " + o.Namespace + "/" + o.Name,
				Cluster: s.cluster, Namespace: key[0], Name: key[1], Status: o.Labels["status"], Exposure: ExposureUnknown,
				Match: unmatched("what Helm stored of it cannot be read"), Unresolved: []string{"what Helm stored of it cannot be read: " + reason(err)},
			})
			continue
		}
		d := r.deployment(s.cluster, s.from, o)
		if revs.newestRevision > d.Revision {
			d.Unresolved = append(d.Unresolved, fmt.Sprintf("revision %d is newer and has the status %q", revs.newestRevision, revs.newest.Labels["status"]))
		}
		v.Deployments = append(v.Deployments, d)
	}
	v.Problems = problems
	return v
}

func helmKey(cluster, namespace, name string) string {
	return cluster + "/" + namespace + "/" + name
}

// ReadHelm reads Helm's storage from text: what `kubectl get secrets -o json`
// or -o yaml prints, one object of it, or a bare release as a driver stores it.
// Other objects in it are passed over. Errors are problems of kind Invalid or
// TooLarge when the whole cannot be read; what cannot be read of it is in the
// inventory's problems.
func ReadHelm(text []byte, cluster, from string) (Inventory, error) {
	s := NewHelmStorage(cluster, from)
	if err := s.AddText(text); err != nil {
		return Inventory{}, err
	}
	return s.Inventory(), nil
}

// AddText adds the objects of a text; see ReadHelm.
func (s *HelmStorage) AddText(text []byte) error {
	if len(text) > maxStorage {
		return problem.New(problem.TooLarge, "helm-storage-size", "%s is larger than %d MiB", s.from, maxStorage>>20)
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return invalidStorage(s.from, "it is empty")
	case text[0] == '{' || text[0] == '[':
		return s.addJSON(text)
	case len(text) <= maxEncoded && bytes.IndexFunc(text, func(r rune) bool { return !base64Character(r) }) < 0:
		r, err := decodeRelease(text)
		if err != nil {
			return invalidStorage(s.from, reason(err))
		}
		s.Add(HelmObject{Kind: "release", Namespace: r.Namespace, Name: r.Name, Release: string(text)})
		return nil
	case len(text) > maxYAMLObject:
		return problem.New(problem.TooLarge, "helm-storage-size", "%s is larger than %d MiB of YAML", s.from, maxYAMLObject>>20).
			Suggest("write it with `kubectl get secrets -o json`")
	}
	for doc := range documents(text) {
		j, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return invalidStorage(s.from, "it is neither JSON nor YAML")
		}
		if bytes.Equal(bytes.TrimSpace(j), []byte("null")) {
			continue
		}
		if err := s.addJSON(j); err != nil {
			return err
		}
	}
	return nil
}

func base64Character(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '=' || r == '\n' || r == '\r'
}

func invalidStorage(from, why string) error {
	return problem.New(problem.Invalid, "helm-storage", "%s is not what Helm stores: %s", from, why).
		Suggest("write it with `kubectl get secrets --all-namespaces --selector owner=helm -o json`")
}

// kubeObject is what is read of a Secret, a ConfigMap or a list of them.
type kubeObject struct {
	Kind     string `json:"kind"`
	Type     string `json:"type"`
	Metadata struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Data struct {
		Release string `json:"release"`
	} `json:"data"`
	StringData struct {
		Release string `json:"release"`
	} `json:"stringData"`
	Items []json.RawMessage `json:"items"`
}

func (s *HelmStorage) addJSON(text []byte) error {
	if text[0] == '[' {
		var items []json.RawMessage
		if err := json.Unmarshal(text, &items); err != nil {
			return invalidStorage(s.from, "its JSON is damaged")
		}
		return s.addItems(items, "")
	}
	var o kubeObject
	if err := json.Unmarshal(text, &o); err != nil {
		return invalidStorage(s.from, "its JSON is damaged, or no object of Kubernetes")
	}
	if o.Items != nil {
		return s.addItems(o.Items, strings.TrimSuffix(o.Kind, "List"))
	}
	s.addObject(o)
	return nil
}

// addItems adds the items of a list. Those that an API server lists have no
// kind of their own: it is that of the list.
func (s *HelmStorage) addItems(items []json.RawMessage, kind string) error {
	if len(items) > maxObjects {
		return problem.New(problem.TooLarge, "helm-storage-count", "%s has more than %d objects", s.from, maxObjects)
	}
	for i, item := range items {
		var o kubeObject
		if err := json.Unmarshal(item, &o); err != nil {
			s.problem(HelmObject{Kind: "item", Name: strconv.Itoa(i)}, "it is no object of Kubernetes")
			continue
		}
		o.Kind = cmp.Or(o.Kind, kind)
		s.addObject(o)
	}
	return nil
}

// stored reports whether the object is one of Helm's storage.
func (o kubeObject) stored() bool {
	return o.Type == "helm.sh/release.v1" || o.Metadata.Labels["owner"] == "helm" && o.Data.Release+o.StringData.Release != ""
}

func (s *HelmStorage) addObject(o kubeObject) {
	h := HelmObject{Kind: o.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, Labels: o.Metadata.Labels, Release: o.Data.Release}
	if !o.stored() {
		return
	}
	if o.Kind == "Secret" && o.Data.Release != "" {
		b, err := base64.StdEncoding.DecodeString(o.Data.Release)
		if err != nil {
			s.problem(h, "its data is not base64")
			return
		}
		h.Release = string(b)
	} else if h.Release == "" {
		h.Release = o.StringData.Release
	}
	s.Add(h)
}

// release is a revision as Helm stores it. It holds values in clear and does
// not leave this package.
type release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Version   int    `json:"version"`
	Info      struct {
		Status       string `json:"status"`
		LastDeployed string `json:"last_deployed"`
	} `json:"info"`
	Chart    *storedChart   `json:"chart"`
	Config   map[string]any `json:"config"`
	Manifest string         `json:"manifest"`
	Hooks    []struct {
		Manifest string `json:"manifest"`
	} `json:"hooks"`
}

type storedChart struct {
	Metadata  *chart.Metadata `json:"metadata"`
	Lock      *lock           `json:"lock"`
	Templates []*storedFile   `json:"templates"`
	Values    map[string]any  `json:"values"`
	Schema    []byte          `json:"schema"`
	Files     []*storedFile   `json:"files"`
}

type storedFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

var errRelease = errors.New("it is no release of Helm")

func reason(err error) string { return err.Error() }

// decodeRelease reads the base64 of a release. Its errors are words for
// people and hold nothing of the content.
func decodeRelease(text []byte) (*release, error) {
	if len(text) > maxEncoded {
		return nil, fmt.Errorf("it is larger than %d MiB", maxEncoded>>20)
	}
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b, 0x08}) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, errors.New("its gzip data is damaged")
		}
		b, err = io.ReadAll(io.LimitReader(z, maxRelease+1))
		if err != nil {
			return nil, errors.New("its gzip data is damaged")
		}
	}
	if len(b) > maxRelease {
		return nil, fmt.Errorf("it unpacks to more than %d MiB", maxRelease>>20)
	}
	var r release
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, errRelease
	}
	switch {
	case r.Name == "" || r.Chart == nil || r.Chart.Metadata == nil || r.Chart.Metadata.Name == "":
		return nil, errRelease
	case len(r.Chart.Templates) > maxStored || len(r.Chart.Files) > maxStored:
		return nil, fmt.Errorf("its chart has more than %d files", maxStored)
	}
	return &r, nil
}

// FingerprintStored returns what can be compared of a release with archives.
// The release is as a driver stores it: base64 of gzip of JSON. Errors are
// problems of kind Invalid.
func FingerprintStored(stored []byte) (Print, error) {
	r, err := decodeRelease(stored)
	if err != nil {
		return Print{}, problem.New(problem.Invalid, "helm-storage", "the release cannot be read: %s", reason(err))
	}
	return r.print(), nil
}

func (r *release) print() Print {
	ch := r.Chart
	c := contents{schema: ch.Schema, metadata: *ch.Metadata, lock: ch.Lock, defaults: ch.Values}
	for _, f := range ch.Templates {
		if f != nil {
			c.templates.add(f.Name, bytes.TrimPrefix(f.Data, utf8BOM))
		}
	}
	for _, f := range ch.Files {
		if f != nil {
			c.files.add(f.Name, bytes.TrimPrefix(f.Data, utf8BOM))
		}
	}
	if c.defaults == nil {
		c.defaults = map[string]any{}
	}
	for _, d := range ch.Metadata.Dependencies {
		c.merged = append(c.merged, mergedKeys(d)...)
	}
	p := c.print()
	p.Set = slices.Sorted(maps.Keys(r.Config))
	return p
}

// deployment makes the release the deployment that it is.
func (r *release) deployment(cluster, from string, o *HelmObject) Deployment {
	m := r.Chart.Metadata
	namespace := r.Namespace
	if namespace == "" {
		namespace = o.Namespace
	}
	p := r.print()
	d := Deployment{
		Key: helmKey(cluster, namespace, r.Name), Tool: Helm, From: from + ": " + o.Kind + " " + o.Namespace + "/" + o.Name,
		Cluster: cluster, Namespace: namespace, Name: r.Name, Exposure: ExposureUnknown,
		Chart:  Chart{Name: m.Name, Version: m.Version, AppVersion: m.AppVersion},
		Status: r.Info.Status, Revision: r.Version, Values: maskedJSON(r.Config),
		Fingerprint: p.Fingerprint, Print: &p, Match: unmatched("not compared with any published chart yet"),
	}
	if t, err := time.Parse(time.RFC3339Nano, r.Info.LastDeployed); err == nil {
		d.Updated = t.UTC()
	}
	for _, dep := range m.Dependencies {
		c := dependencyChart(dep)
		r.Chart.Lock.settle(&c)
		d.Dependencies = append(d.Dependencies, c)
		d.Unresolved = append(d.Unresolved, fmt.Sprintf("sub-chart %s: Helm stores nothing of sub-charts, so that its bytes are unknown", cmp.Or(c.Alias, c.Name)))
	}
	r.observe(&d)
	declare(&d, o.Labels)
	return d
}

func unmatched(how string) Match { return Match{Confidence: Unknown, How: how} }
