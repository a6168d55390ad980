"""What sets a box up: keys, site file, enrolment."""
