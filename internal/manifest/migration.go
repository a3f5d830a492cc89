package manifest

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// migrating finds what brings data into the form of a version, by the names
// that people give it.
var (
	migrating = regexp.MustCompile(`(?i)(^|[^a-z])(migrat(e|es|ion|ions|or|ing)|(db|database|schema)[-_ ]?(upgrade|update|migrate|init|sync|setup)|(upgrade|update|sync|init)[-_ ]?(db|database|schema)|alembic|flyway|liquibase|goose)([^a-z]|$)`)
	awaiting  = regexp.MustCompile(`(?i)(^|[^a-z])(wait|waits|waiting|check|checks|verify|await)([^a-z]|$)`)
)

// migrations are the containers of an object that migrate data. Of what runs
// all the time, only those count that begin it, or whose object is named so.
func migrations(o Object) []container {
	if o.IsTest() {
		return nil
	}
	named := migrating.MatchString(o.Name) && !awaiting.MatchString(o.Name)
	once := o.Kind == "Job" || o.Kind == "Pod" || len(o.Hooks) > 0
	var out []container
	for _, p := range podsOf(o) {
		for _, c := range p.containers() {
			if c.stage == "ephemeral" || awaiting.MatchString(c.name) || !once && !named && c.stage != "init" {
				continue
			}
			if migrating.MatchString(c.name) || migrating.MatchString(commandOf(c)) || named && c.stage == "" {
				out = append(out, c)
			}
		}
	}
	return out
}

// commandOf is what a container is told to do, or its begin.
func commandOf(c container) string {
	words := append(stringsAt(c.fields, "command"), stringsAt(c.fields, "args")...)
	text := strings.Join(words, " ")
	return text[:min(len(text), 4<<10)]
}

// migration finds data that an upgrade migrates: a container that does it is
// new, or runs something else than before.
func (c *comparer) migration(old, new Object) {
	was := migrations(old)
	var names []string
	for _, m := range migrations(new) {
		same := slices.ContainsFunc(was, func(w container) bool {
			return w.name == m.name && reflect.DeepEqual(w.fields["image"], m.fields["image"]) && commandOf(w) == commandOf(m)
		})
		if !same {
			names = append(names, m.label())
		}
	}
	if len(names) > 0 {
		c.found.add("migration", Medium, new.ID(), "brings data into the form of the new version, which a rollback does not undo: "+enumerate(names, 4), "", "")
	}
}
