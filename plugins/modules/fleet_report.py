#!/usr/bin/python
DOCUMENTATION=""
