module github.com/lookatitude/beluga-ai/v2

go 1.24.0
