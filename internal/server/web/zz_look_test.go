package web

import (
	"os"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	dir := os.Getenv("LOOK")
	if dir == "" {
		t.Skip()
	}
	f := newSample(t)
	pages := map[string]string{"today": "/ui/", "advisories": "/ui/advisories", "advisory": "/ui/advisories/CVE-2023-49920", "advisory2": "/ui/advisories/CVE-2022-0543", "upgrades": "/ui/upgrades", "list": "/ui/upgrades?show=ended", "plan": "/ui/plan", "planof": "/ui/plan/prod-eu/data/airflow", "planof2": "/ui/plan/staging-eu/data/airflow", "practice": "/ui/practice", "agenda": "/ui/agenda", "deployment": "/ui/deployments/prod-eu/data/airflow", "u300": "/ui/upgrades/300", "u301": "/ui/upgrades/301", "u302": "/ui/upgrades/302", "u305": "/ui/upgrades/305", "review": "/ui/reviews/" + digestOf("review half")}
	c := manager
	c.Principal.Grants = append(c.Principal.Grants, approver.Principal.Grants...)
	c.Principal.Grants = append(c.Principal.Grants, maintainer.Principal.Grants...)
	for name, path := range pages {
		w := get(t, f, c, path)
		if w.Code != 200 {
			t.Errorf("%s %d %s", path, w.Code, w.Body)
			continue
		}
		doc := parseHTML(t, w.Body.String())
		checkPage(t, doc)
		html := w.Body.String()
		for _, l := range doc.all("link") {
			b := get(t, f, c, l.attrs["href"])
			os.WriteFile(dir+l.attrs["href"][len("/ui"):], b.Body.Bytes(), 0o644)
		}
		html = strings.ReplaceAll(html, "/ui/assets/", "assets/")
		os.WriteFile(dir+"/"+name+".html", []byte(html), 0o644)
		os.WriteFile(dir+"/"+name+"-dark.html", []byte(strings.Replace(html, `<html lang="en"`, `<html lang="en" data-theme="dark"`, 1)), 0o644)
	}
}
