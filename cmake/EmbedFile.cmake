# cmake -DINPUT=FILE -DOUTPUT=FILE.cpp -DNAME=kName -DHEADER=path.h -P EmbedFile.cmake
# Writes a C++ source that defines `const std::string_view echo::kName` as the content of a text file.
file(READ "${INPUT}" content)
file(WRITE "${OUTPUT}.new" "#include \"${HEADER}\"\n\nnamespace echo {\n\nconst std::string_view ${NAME} = R\"embedded(")
file(APPEND "${OUTPUT}.new" "${content}")
file(APPEND "${OUTPUT}.new" ")embedded\";\n\n}  // namespace echo\n")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
