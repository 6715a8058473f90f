// Package ui is the gateway's web page: index.html, style.css and a module of
// JavaScript for each part, no build step, nothing from elsewhere. app.js says
// which part is open, api.js what all of them use.
package ui

import (
	"embed"
	"path"
)

//go:embed index.html style.css *.js
var files embed.FS

// File is one file of the page.
type File struct {
	Path        string // under which it is served
	ContentType string
	Data        []byte
}

// contentTypes of the page's files by their names' ends.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
}

// Files returns the files of the page.
func Files() []File {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("ui: " + err.Error()) // embedded when this was compiled
	}
	out := make([]File, len(entries))
	for i, entry := range entries {
		name := entry.Name()
		data, err := files.ReadFile(name)
		if err != nil {
			panic("ui: " + err.Error())
		}
		out[i] = File{Path: "/" + name, ContentType: contentTypes[path.Ext(name)], Data: data}
		if name == "index.html" {
			out[i].Path = "/"
		}
	}
	return out
}
