package deployment

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// plainFields are the fields of a line of a plain list. Chart is required.
var plainFields = []string{
	"chart", "version", "repository", "cluster", "namespace", "name", "environment", "owner", "route", "mission", "exposure", "digest",
}

// maxLines bounds a plain list.
const maxLines = 20_000

// plain reads a plain list: CSV with a head line, or a list in YAML or JSON,
// alone or under the key deployments. Its error is a sentence.
func (r *reader) plain(p string, text []byte) error {
	if path.Ext(p) == ".csv" {
		return r.plainCSV(p, text)
	}
	docs, err := r.parse(p, text)
	if err != nil {
		return err
	}
	found := false
	for _, doc := range docs {
		list := doc
		if doc.isMap() {
			list = doc.at("deployments")
		}
		items := list.list()
		if items == nil {
			continue
		}
		found = true
		if len(items) > maxLines {
			return fmt.Errorf("it has more than %d lines", maxLines)
		}
		for _, item := range items {
			fields := item.texts()
			if fields == nil {
				r.problem(item.where(), "a line of a list of deployments is a mapping of fields")
				continue
			}
			values, err := item.at("values").values()
			if err != nil {
				r.problem(item.where(), "values %v", err)
			}
			r.line(item.where(), p, fields, values)
		}
	}
	if !found {
		return errors.New("it has no list of deployments")
	}
	return nil
}

func (r *reader) plainCSV(p string, text []byte) error {
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, utf8BOM)))
	c.TrimLeadingSpace, c.Comment = true, '#'
	head, err := c.Read()
	if err != nil {
		return errors.New("it has no head line")
	}
	for i := range head {
		head[i] = strings.ToLower(strings.TrimSpace(head[i]))
	}
	if !slices.Contains(head, "chart") {
		return errors.New("its head line has no column chart")
	}
	for n := 0; ; n++ {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("it is not CSV with one number of columns in every line")
		}
		if n == maxLines {
			return fmt.Errorf("it has more than %d lines", maxLines)
		}
		line, _ := c.FieldPos(0)
		m := make(map[string]string, len(head))
		for i, v := range fields {
			m[head[i]] = strings.TrimSpace(v)
		}
		r.line(p+":"+strconv.Itoa(line), p, m, nil)
	}
}

// line takes one line of a plain list.
func (r *reader) line(where, p string, f map[string]string, values map[string]any) {
	if f["chart"] == "" {
		r.problem(where, "the line names no chart")
		return
	}
	c := Chart{Name: f["chart"], Repository: repositoryURL(f["repository"]), Digest: f["digest"]}
	// An address of an OCI registry ends with the name of the chart.
	if strings.HasPrefix(c.Name, "oci://") && c.Repository == "" {
		c.Repository, c.Name = splitOCI(repositoryURL(c.Name))
	}
	d := Deployment{
		Tool: Plain, From: where, Cluster: f["cluster"], Namespace: f["namespace"], Name: f["name"], Exposure: ExposureUnknown,
		Values: maskedJSON(values),
	}
	if d.Name == "" {
		d.Name = c.Name
	}
	d.Key = r.key(p, strings.Join([]string{d.Cluster, d.Namespace, d.Name}, "/"))
	if d.Cluster != "" && d.Namespace != "" && f["name"] != "" {
		d.Key = helmKey(d.Cluster, d.Namespace, d.Name)
	}
	switch fault := c.setVersion(f["version"]); {
	case f["version"] == "" && c.Digest == "":
		c.Constraint = ""
		d.Unresolved = append(d.Unresolved, where+": the line names no version")
	case f["version"] == "":
		c.Constraint = ""
	case fault != "":
		d.Unresolved = append(d.Unresolved, fmt.Sprintf("%s: the version %q %s", where, cut(f["version"]), fault))
	}
	if c.Digest != "" && !isDigest(c.Digest) {
		d.Unresolved = append(d.Unresolved, where+": the digest is no SHA-256")
		c.Digest = ""
	}
	d.Chart = c
	for _, field := range []string{"environment", "owner", "route", "mission", "exposure"} {
		if f[field] != "" {
			d.declare(field, f[field])
		}
	}
	for key := range f {
		if key != "values" && !slices.Contains(plainFields, key) {
			r.problem(where, "there is no field %q; fields are %s", cut(key), strings.Join(plainFields, ", "))
		}
	}
	r.add(d)
}

func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// splitOCI splits oci://host/path/chart into the repository and the chart.
func splitOCI(ref string) (repository, name string) {
	i := strings.LastIndexByte(ref, '/')
	if i <= len("oci://") {
		return ref, ""
	}
	return ref[:i], ref[i+1:]
}
