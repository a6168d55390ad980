"""The signed record of docs/RECORD.md, shared by edge, cloud and whoever checks a tonne."""
