package deployment

import (
	"cmp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// setVersion puts what a file says of a version where it belongs. Helm takes
// only a full version for an exact one: 1.2 means 1.2.x, and nothing means the
// newest stable version. It returns why the text is neither, or "".
func (c *Chart) setVersion(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		c.Constraint = "*"
		return ""
	}
	if exactVersion(s) {
		c.Version = s
		return ""
	}
	c.Constraint = s
	if len(s) > maxConstraint {
		c.Constraint = ""
		return "is longer than a range of versions can be"
	}
	if _, err := semver.NewConstraint(s); err != nil {
		return "is neither a version nor a range of versions"
	}
	return ""
}

const maxConstraint = 1024

// exactVersion reports whether Helm takes a text for one version.
func exactVersion(s string) bool {
	if len(s) > 256 {
		return false
	}
	_, err := semver.StrictNewVersion(strings.TrimPrefix(s, "v"))
	return err == nil
}

// dependencyChart is what a chart says of a dependency.
func dependencyChart(d chart.Dependency) Chart {
	c := Chart{Name: d.Name, Alias: d.Alias, Repository: repositoryURL(d.Repository), Condition: d.Condition}
	c.setVersion(d.Version)
	return c
}

// settle puts the exact version that the lock has into a dependency. Helm
// stores a dependency that has an alias under the alias; then the lock tells
// its name, where one entry of it fits and no other does.
func (l *lock) settle(c *Chart) bool {
	if l == nil {
		return false
	}
	var found *lockDependency
	for i := range l.Dependencies {
		d := &l.Dependencies[i]
		switch {
		case d.Name == c.Name:
			c.Version = d.Version
			return true
		case c.Alias != c.Name || repositoryURL(d.Repository) != c.Repository || !allows(cmp.Or(c.Constraint, c.Version), d.Version):
		case found != nil:
			return false
		default:
			found = d
		}
	}
	if found == nil {
		return false
	}
	c.Name, c.Version = found.Name, found.Version
	return true
}

// allows reports whether a range holds a version, as Helm reads both.
func allows(constraint, version string) bool {
	if len(constraint) > maxConstraint || len(version) > 256 {
		return false
	}
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return constraint == version
	}
	v, err := semver.NewVersion(version)
	return err == nil && c.Check(v)
}
